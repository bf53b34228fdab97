"""conduit_py."""
