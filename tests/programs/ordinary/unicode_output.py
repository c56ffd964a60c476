import sys
print("žluťoučký kůň — 漢字 🐍")
sys.stderr.write("größer\n")
assert sys.stdout.encoding.lower() == "utf-8" and sys.getfilesystemencoding() == "utf-8"
print("ok")
