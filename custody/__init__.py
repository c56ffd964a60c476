"""custody runs code that AI agents write, safely and with evidence.

The doors (cli, service, mcp, identity) live here; the rooms are links to the folders beside this one (see ARCHITECTURE.md).
Importing this package does no work and loads nothing heavy.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
