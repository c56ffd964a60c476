# layer: network_namespace
# record: egress 127.0.0.1
# a secret in a question to a name server, as data leaves where only names are resolved
import socket, sys
try:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as question:
        question.settimeout(0.5)
        question.sendto(b"secret-data.example.org", ("127.0.0.1", int(sys.argv[1])))
        print("SUCCESS" if question.recv(100) else "blocked")
except OSError as error:
    print("blocked", error)
