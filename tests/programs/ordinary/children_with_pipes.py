import os, shlex, signal, subprocess, sys, threading
def python(code, **how):
    return [sys.executable, "-c", code], how
words, how = python("import sys; print(sys.stdin.read().upper(), end=''); print('e', file=sys.stderr); sys.exit(3)")
done = subprocess.run(words, input="text", capture_output=True, text=True, timeout=60)
assert (done.stdout, done.stderr, done.returncode) == ("TEXT", "e\n", 3)
first = subprocess.Popen([sys.executable, "-c", "for n in range(1000): print(n)"], stdout=subprocess.PIPE)
second = subprocess.Popen([sys.executable, "-c", "import sys; print(sum(map(int, sys.stdin)))"], stdin=first.stdout, stdout=subprocess.PIPE)
first.stdout.close()
assert second.communicate()[0] == b"499500\n" and first.wait() == 0
try:
    subprocess.run([sys.executable, "-c", "import signal; signal.pause()"], timeout=0.2)
    raise SystemExit("it ended")
except subprocess.TimeoutExpired:
    pass
waiting = subprocess.Popen([sys.executable, "-c", "import signal; print(1, flush=True); signal.pause()"], stdout=subprocess.PIPE, start_new_session=True)
waiting.stdout.readline()
os.killpg(waiting.pid, signal.SIGTERM)
assert waiting.wait(60) == -signal.SIGTERM
lines = []
talking = subprocess.Popen([sys.executable, "-u", "-c", "for n in range(3): print(n)"], stdout=subprocess.PIPE, text=True, bufsize=1, env={"LANG": "C.UTF-8"}, cwd="/tmp")
reader = threading.Thread(target=lambda: lines.extend(talking.stdout))
reader.start()
talking.wait()
reader.join()
assert lines == ["0\n", "1\n", "2\n"]
assert subprocess.check_output(shlex.split(f"{sys.executable} -c 'print(1)'")) == b"1\n"
try:
    subprocess.run(["a-program-that-is-not-there"])
except FileNotFoundError:
    print("ok")
