import getpass, os, platform, pwd, socket, sys
assert getpass.getuser() == "agent" and pwd.getpwuid(os.getuid()).pw_name == "agent"
assert socket.gethostname() == "jail"
assert __name__ == "__main__" and __file__ == "/work/who_am_i.py" and sys.argv == ["/work/who_am_i.py"]
assert os.read(0, 1) == b"" and sys.stdin.read() == ""
assert platform.system() == "Linux"
print("ok")
