# layer: environment
# record: none
import os
print("SUCCESS" if "CUSTODY_TEST_SECRET" in os.environ else "blocked")
