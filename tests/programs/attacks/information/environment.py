# layer: environment
# record: none
# why: a program's variables lie in its own memory
import os
print("SUCCESS" if "CUSTODY_TEST_SECRET" in os.environ else "blocked")
