# layer: seccomp
# record: syscall socket
import socket
for family, kind in ((40, 1), (16, 3), (17, 3)):
    try:
        socket.socket(family, kind).close()
        print("SUCCESS", family)
        break
    except PermissionError as error:
        message = error
    except OSError:
        pass
else:
    print("blocked", message)
