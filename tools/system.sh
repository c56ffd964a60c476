#!/bin/sh
# Installs the Debian packages of tools/system-packages.txt; does nothing if they are there.
set -eu
cd "$(dirname "$0")/.."
wanted="$(sed 's/#.*//' tools/system-packages.txt)"
missing=""
for name in $wanted; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $name"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "error: installing$missing needs root" >&2
    echo "hint: run make system as root, or install them by hand" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 - a list of names
apt-get install -y -qq --no-install-recommends $missing >/dev/null
