"""Wants to reach a host; no rule lets it, so it never starts."""

import urllib.request

print(urllib.request.urlopen("https://rates.example.com/today.json", timeout=5).read())
