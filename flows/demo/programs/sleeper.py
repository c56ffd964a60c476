"""Sleeps for a minute under a limit of two seconds."""

import time

print("good night", flush=True)
time.sleep(60)
print("good morning")
