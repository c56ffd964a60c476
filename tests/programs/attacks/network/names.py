# layer: none
# record: egress example.org
import socket
try:
    socket.getaddrinfo("secret-data.example.org", 443)
    print("SUCCESS")
except OSError as error:
    print("blocked", error)
