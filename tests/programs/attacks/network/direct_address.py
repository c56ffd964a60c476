# layer: none
# record: egress 192.0.2.1
import socket
try:
    socket.create_connection(("192.0.2.1", 80), 1)
    print("SUCCESS")
except OSError as error:
    print("blocked", error)
