# layer: no_capabilities
# record: file /proc/self/status
text = open("/proc/self/status").read()
have = [line.split()[1].strip("0") for line in text.splitlines() if line.startswith("Cap") and not line.startswith("CapInh")]
print("SUCCESS" if any(have) or "NoNewPrivs:\t1" not in text else "blocked")
