# layer: network_namespace
# record: egress unix:
# beside: listen.py
import socket, sys
try:
    with socket.socket(socket.AF_UNIX) as other:
        other.connect("\0run-" + sys.argv[1])
    print("SUCCESS")
except OSError as error:
    print("blocked", error)
