# layer: uts_namespace
# record: none
import os, socket, sys
print("SUCCESS" if socket.gethostname() == sys.argv[1] else "blocked")
