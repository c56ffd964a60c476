#!/bin/sh
# Renews docs/images: the first screen of the demo's report, light and dark, as headless Chromium shows it. Needs Chromium (make system).
set -eu
cd "$(dirname "$0")/.."
place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
.venv/bin/custody demo --no-prefect --into "$place/demo" >/dev/null
report="$(find "$place/demo/home/reviews" -name review.html)"
mkdir -p docs/images
for scheme in dark=0 light=1; do
    # 0 and 1 are Blink's numbers for the colour scheme that a page is told the reader prefers
    chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update \
        --disable-sync --hide-scrollbars --user-data-dir="$place/profile" --blink-settings="preferredColorScheme=${scheme#*=}" \
        --screenshot="docs/images/review-${scheme%=*}.png" --window-size=1120,1500 "file://$report" 2>/dev/null
done
ls -l docs/images
