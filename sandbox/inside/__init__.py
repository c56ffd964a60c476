"""What runs inside the jail: source that is read as text and mounted, never imported by custody itself."""
