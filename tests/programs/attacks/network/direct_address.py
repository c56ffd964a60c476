# layer: network_namespace
# record: egress {address}
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()
    print("SUCCESS")
except OSError as error:
    print("blocked", error)
