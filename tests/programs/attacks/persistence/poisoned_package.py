# layer: read_only
# record: before file /environment/left.py
# before: leave.py
try:
    import left
    print("SUCCESS" if left.LEFT else "blocked")
except ImportError as error:
    print("blocked", error)
