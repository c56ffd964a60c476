"""Reads the password file and knocks at the host's own loopback."""

import socket

for path in ("/etc/shadow", "/root/.ssh/id_rsa", "/proc/1/environ"):
    try:
        with open(path, "rb") as file:
            print(path, len(file.read()), "bytes")
    except OSError as error:
        print(path, error.strerror)
for port in (22, 5432, 4200):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
        print("reached port", port)
    except OSError as error:
        print("port", port, error.strerror or error)
