import filecmp, fnmatch, glob, os, pathlib, shutil, stat, tempfile
top = pathlib.Path("/work/tree")
for number in range(30):
    place = top / f"d{number % 3}" / f"e{number % 2}"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{number}.{'py' if number % 5 else 'md'}").write_text(f"# {number}\n", encoding="utf-8")
(top / "link").symlink_to("d0")
os.link(top / "d0/e0/0.md", top / "hard.md")
assert len(list(top.rglob("*.py"))) == 24 and len(glob.glob("/work/tree/**/*.md", recursive=True)) >= 6
assert sum(len(files) for _, _, files in os.walk(top)) == 31
assert len(fnmatch.filter(os.listdir(top), "d?")) == 3
shutil.copytree(top, "/work/copy", symlinks=True)
assert not filecmp.dircmp(top, "/work/copy").diff_files
shutil.move("/work/copy/d1", "/tmp/moved")
with tempfile.TemporaryDirectory() as folder:
    shutil.copy2(top / "hard.md", folder)
    os.chmod(f"{folder}/hard.md", 0o640)
    assert stat.filemode(os.stat(f"{folder}/hard.md").st_mode) == "-rw-r-----"
    os.utime(f"{folder}/hard.md", (1, 2))
    assert os.stat(f"{folder}/hard.md").st_mtime == 2
with tempfile.NamedTemporaryFile("w", dir="/work", delete=False) as file:
    file.write("whole")
    file.flush()
    os.fsync(file.fileno())
os.replace(file.name, "/work/out/result.txt")
assert pathlib.Path("/work/out/result.txt").read_text() == "whole"
shutil.rmtree(top)
assert shutil.disk_usage("/work").free > 0 and not top.exists()
print("ok")
