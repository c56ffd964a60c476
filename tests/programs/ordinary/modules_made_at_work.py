import compileall, importlib, os, runpy, sys, zipfile
os.makedirs("/work/made/inner")
open("/work/made/__init__.py", "w").write("from .inner import value\n")
open("/work/made/inner/__init__.py", "w").write("value = 41 + 1\n")
open("/work/made/__main__.py", "w").write("import sys\nfrom . import value\nprint('ran', value, sys.argv[1:])\n")
open("/work/made/words.txt", "w").write("some words")
import made
import importlib.resources as resources
assert made.value == 42 and resources.files(made).joinpath("words.txt").read_text() == "some words"
assert runpy.run_path("/work/made/inner/__init__.py")["value"] == 42
assert compileall.compile_dir("/work/made", quiet=2)
with zipfile.ZipFile("/work/packed.zip", "w") as z:
    z.writestr("packed.py", "def f(): return 'from a zip'")
sys.path.insert(0, "/work/packed.zip")
import packed
assert packed.f() == "from a zip"
open("/work/made/inner/__init__.py", "w").write("value = 43 # longer\n")
assert importlib.reload(sys.modules["made.inner"]).value == 43
os.execv(sys.executable, [sys.executable, "-c", "import sys; sys.path.insert(0, '/work'); import made; assert made.value == 43; print('ok')"])
