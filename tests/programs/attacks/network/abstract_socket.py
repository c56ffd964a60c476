# layer: network_namespace
# record: egress unix:
import socket, sys
try:
    s = socket.socket(socket.AF_UNIX)
    s.connect("\0" + sys.argv[1])
    print("SUCCESS")
except OSError as error:
    print("blocked", error)
