#!/bin/sh
# Renews the requirement files: universal, hash-pinned, without index addresses, and nothing younger than a week.
set -eu
cd "$(dirname "$0")/.."
uv="$(command -v uv || true)"
[ -n "$uv" ] || uv=.venv/bin/uv
before="$(date -u -d '7 days ago' +%Y-%m-%dT00:00:00Z)"
compile() {
    "$uv" pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --python-version 3.11 \
        --custom-compile-command "make lock" --exclude-newer "$before" --upgrade "$@"
}
compile requirements/uv.in --output-file requirements/uv.txt
compile pyproject.toml --output-file requirements/run.txt
compile pyproject.toml --group dev --output-file requirements/dev.txt
grep -nE '://' requirements/*.txt && { echo "error: an address got into a requirement file" >&2; exit 1; }
exit 0
