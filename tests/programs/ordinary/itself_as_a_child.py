import subprocess, sys
answer = subprocess.run([sys.executable, "-c", "import json; print(json.dumps([1, 2]))"], capture_output=True, text=True, check=True)
assert answer.stdout == "[1, 2]\n"
assert subprocess.run(["python3", "-c", "raise SystemExit(3)"]).returncode == 3
assert subprocess.run([sys.executable, "-c", "pass"], env={}).returncode == 0
print("ok")
