"""The command line's own parts: what is typed becomes a request, what is printed is harmless."""
