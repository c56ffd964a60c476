import os, tempfile, pathlib
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "ü.txt")
    path.write_text("grün")
    os.rename(path, path.with_suffix(".md"))
    assert os.listdir(folder) == ["ü.md"]
with tempfile.NamedTemporaryFile("w+") as file:
    file.write("x"); file.seek(0); assert file.read() == "x"
with tempfile.SpooledTemporaryFile() as file:
    file.write(b"x")
print("ok")
