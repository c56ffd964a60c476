#!/bin/sh
# Makes .venv from the committed, hash-pinned requirement files; a second call with nothing changed does nothing.
# Needs python3 (3.11 or later) with pip, and a package index: the one that pip or uv is configured for.
set -eu
cd "$(dirname "$0")/.."
want="$(cat requirements/uv.txt requirements/dev.txt pyproject.toml | sha256sum | cut -c1-32)-$(python3 -c 'import sys; print(sys.version.split()[0])')"
[ -f .venv/.bootstrapped ] && [ "$(cat .venv/.bootstrapped)" = "$want" ] && exit 0

say() { printf '%s\n' "$*" >&2; }
if [ -t 2 ] && [ -z "${CI:-}" ]; then quiet=""; else quiet="--quiet"; fi

# uv asks the index that pip is configured for, so that one setting serves both
if [ -z "${UV_DEFAULT_INDEX:-}" ]; then
    index="$(python3 -m pip config get global.index-url 2>/dev/null || true)"
    index="${PIP_INDEX_URL:-$index}"
    if [ -n "$index" ]; then UV_DEFAULT_INDEX="$index"; export UV_DEFAULT_INDEX; fi
fi
if [ -z "${SSL_CERT_FILE:-}" ]; then
    cert="${PIP_CERT:-$(python3 -m pip config get global.cert 2>/dev/null || true)}"
    if [ -n "$cert" ]; then SSL_CERT_FILE="$cert"; export SSL_CERT_FILE; fi
fi

if command -v uv >/dev/null 2>&1; then
    uv=uv
else
    uv=.bootstrap/bin/uv
    if [ ! -x "$uv" ]; then
        say "setting up: uv"
        rm -rf .bootstrap
        python3 -m pip install -qq --root-user-action ignore --disable-pip-version-check --no-deps --only-binary :all: --require-hashes --target .bootstrap -r requirements/uv.txt
    fi
fi
say "setting up: .venv (about 150 packages, once)"
rm -rf .venv
"$uv" venv --quiet --python "$(command -v python3)" --no-python-downloads .venv
"$uv" pip install $quiet --python .venv/bin/python --require-hashes --no-deps -r requirements/dev.txt
"$uv" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e .
printf '%s' "$want" > .venv/.bootstrapped
