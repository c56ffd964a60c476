# layer: read_only
# record: none
# before: leave.py
try:
    import left
    print("SUCCESS" if left.LEFT else "blocked")
except ImportError as error:
    print("blocked", error)
