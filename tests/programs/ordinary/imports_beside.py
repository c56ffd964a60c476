import sys, importlib, pathlib
pathlib.Path("/work/helper_module.py").write_text("def answer():\n    return 42\n")
importlib.invalidate_caches()
import helper_module
assert helper_module.answer() == 42
print("ok")
