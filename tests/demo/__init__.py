"""The demo, played for real: what each of its programs came to is compared with golden files."""
