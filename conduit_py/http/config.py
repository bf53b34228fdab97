"""Where the HTTP server listens and how much it takes from whoever connects."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from conduit_py.http.tls import Tls

__all__ = ["HttpConfig", "HttpLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What one connection may cost. Times are seconds; a limit that is passed ends that connection only."""

    keep_alive_s: float = 75
    """Silence between two requests, and before the first. Longer than the 60 s of nginx, so the proxy closes first."""
    head_s: float = 20
    """From the first byte of a request to the end of its headers, however they trickle in."""
    body_stall_s: float = 30
    """Silence within a body that a handler waits for. A handler that does not read is not hurried."""
    body_grace_s: float = 60
    """How long a handler waits for a body in all, beside the time that ``body_bytes_per_s_min`` gives for what came."""
    body_bytes_per_s_min: int = 1024
    send_stall_s: float = 30
    """The peer takes nothing of a reply."""
    linger_s: float = 2
    """After a reply that ends a connection early: time in which the peer reads it, its bytes are thrown away."""
    handshake_s: float = 20
    """TLS handshake."""
    head_bytes_max: int = 32 * 1024
    """Request line and headers. 431 beyond."""
    target_bytes_max: int = 16 * 1024
    """Path and query; a sync filter may be written out in it. 414 beyond."""
    buffered_bytes_max: int = 128 * 1024
    """Received and not yet read by the handler. Reading pauses; behind a complete request the connection ends."""
    drained_bytes_max: int = 64 * 1024
    """A body no longer than this that the handler left unread is skipped to keep the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    """Addresses, certificate and limits of the HTTP server."""

    hosts: tuple[str, ...] = ()
    """Addresses to bind; ``::`` takes IPv4 as well."""
    port: int = 0
    """0 lets the system choose, one port for each host."""
    unix_socket: Path | None = None
    """Also, or instead, a unix socket at this path."""
    unix_socket_mode: int = 0o660
    """Who may connect to the unix socket: by default the server's user and group."""
    tls: Tls | None = None
    """With it the TCP addresses speak TLS."""
    backlog: int = 512
    connections_max: int = 8192
    """Open at a time. At the limit the oldest idle one makes room, or new ones wait to be accepted."""
    grace_s: float = 4
    """From the stop signal until requests still running are cancelled."""
    limits: HttpLimits = field(default_factory=HttpLimits)

    def __post_init__(self) -> None:
        if not self.hosts and self.unix_socket is None:
            raise ValueError("the HTTP server has no address to listen on")
