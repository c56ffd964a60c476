# layer: network_namespace
# record: egress 127.0.0.1
# beside: listen.py
import socket, sys
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[2])), 1).close()
    print("SUCCESS")
except OSError as error:
    print("blocked", error)
