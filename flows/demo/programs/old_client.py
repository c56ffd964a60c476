"""Wants a package version with known vulnerabilities; it never starts."""

import urllib3

print(urllib3.__version__)
