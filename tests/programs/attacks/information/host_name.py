# layer: uts_namespace
# record: none
# why: every program may ask for the name of its machine; it is told the jail's
import os, socket, sys
print("SUCCESS" if socket.gethostname() == sys.argv[1] else "blocked")
