import ssl, hashlib, hmac, secrets
context = ssl.create_default_context()
assert context.verify_mode == ssl.CERT_REQUIRED
assert hashlib.sha256(b"x").hexdigest().startswith("2d7116")
assert len(secrets.token_bytes(16)) == 16
print("ok")
