"""Where the hub was. Goes when nobody imports it from here."""

from conduit_py.service.hub import SyncHub

__all__ = ["SyncHub"]
