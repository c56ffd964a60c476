"""Fails by itself."""

orders = {"a-17": 3}
print("looking up the order", flush=True)
print(orders["a-18"])
