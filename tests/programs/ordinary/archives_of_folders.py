import gzip, hashlib, io, lzma, os, shutil, tarfile, zipfile
os.makedirs("/work/project/deep")
for number in range(20):
    with open(f"/work/project/deep/{number}.txt", "w") as file:
        file.write(f"file {number}\n" * 50)
os.symlink("deep/1.txt", "/work/project/link")
for form in ("zip", "gztar", "bztar", "xztar"):
    made = shutil.make_archive(f"/tmp/all-{form}", form, "/work", "project")
    shutil.unpack_archive(made, f"/tmp/unpacked-{form}", **({} if form == "zip" else {"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    assert len(os.listdir(f"/tmp/unpacked-{form}/project/deep")) == 20
    shutil.rmtree(f"/tmp/unpacked-{form}")
with zipfile.ZipFile("/tmp/l.zip", "w", zipfile.ZIP_LZMA) as z:
    z.write("/work/project/deep/3.txt", "3.txt")
with zipfile.ZipFile("/tmp/l.zip") as z, z.open("3.txt") as inner:
    assert inner.readline() == b"file 3\n" and z.testzip() is None
with lzma.open("/tmp/t.xz", "wt") as file:
    file.write("äöü\n" * 100)
with lzma.open("/tmp/t.xz", "rt") as file:
    assert file.read() == "äöü\n" * 100
stream = io.BytesIO()
with tarfile.open(fileobj=stream, mode="w|gz") as t:
    t.add("/work/project", "p")
stream.seek(0)
with tarfile.open(fileobj=stream, mode="r|gz") as t:
    assert sum(member.isfile() for member in t) == 20
with gzip.open("/tmp/g.gz", "wb", compresslevel=9) as file:
    file.write(bytes(1 << 20))
assert hashlib.file_digest(gzip.open("/tmp/g.gz"), "sha256").hexdigest() == hashlib.sha256(bytes(1 << 20)).hexdigest()
print("ok")
