import os, pathlib
out = pathlib.Path(os.environ["CUSTODY_OUT"])
assert out.is_dir() and os.getcwd() == "/work" and os.environ["HOME"] == "/tmp"
(out / "report.txt").write_text("done")
(out / "plots").mkdir()
(out / "plots" / "one.bin").write_bytes(bytes(range(256)))
print("ok")
