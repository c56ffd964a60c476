# /// script
# requires-python = ">=3.11"
# dependencies = ["humanize"]
# ///
"""A one-file script that names its package in its own head; the lock lies beside it."""

import humanize

print("the backup has", humanize.naturalsize(48_318_382_080), "in", humanize.intcomma(1_204_331), "files")
