# layer: collector
# record: refused not UTF-8
# success: name
import os
for name in (b"\xff\xfe", b"a\nb", b"\x1b[31m", "‮evil".encode(), b"back\\slash"):
    with open(b"/work/out/" + name, "w") as file:
        file.write("x")
print("blocked")
