import zipfile, tarfile, gzip, bz2, lzma, io, zlib
for module in (gzip, bz2, lzma, zlib):
    assert module.decompress(module.compress(b"data" * 100)) == b"data" * 100
with zipfile.ZipFile("/work/a.zip", "w", zipfile.ZIP_DEFLATED) as z:
    z.writestr("x.txt", "x" * 1000)
with zipfile.ZipFile("/work/a.zip") as z:
    assert z.read("x.txt") == b"x" * 1000
with tarfile.open("/work/a.tar.gz", "w:gz") as t:
    t.add("/work/a.zip", arcname="a.zip")
with tarfile.open("/work/a.tar.gz") as t:
    assert t.getnames() == ["a.zip"]
print("ok")
