"""The configuration as values: what every other part of the server reads.

Fields carry the name of their key in the file; the table of keys (`conduit_py.config.keys`) says what each means, in
which unit, and why its default is what it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Literal

from conduit_py.matrix.appservices import Registration

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

HIDDEN = "(hidden)"


class Secret(str):
    """Text that must not be shown: its `repr` hides it, and so does that of every value holding it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return HIDDEN


class FileMode(int):
    """Permissions of a file; shown in octal."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"{self:o}"


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """Where a TCP socket listens."""

    host: IpAddress
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.host.version == 6 else str(self.host)
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """The PEM files with which the server itself speaks HTTPS."""

    certs: Path
    key: Path


@dataclass(frozen=True, slots=True)
class WellKnown:
    """What `/.well-known/matrix/client` and `/server` answer: a base URL, and a server name with port.

    The rest is what `/support` answers: a page, and how to reach a person.
    """

    client: str
    server: str
    support_page: str | None = None
    support_email: str | None = None
    support_mxid: str | None = None
    support_role: str = "m.role.admin"


@dataclass(frozen=True, slots=True)
class Turn:
    """TURN servers offered to clients for calls; either ``secret`` is set or ``username`` and ``password`` are."""

    uris: tuple[str, ...]
    ttl: int
    secret: Secret | None
    username: str | None
    password: Secret | None


@dataclass(frozen=True, slots=True)
class ProxyRule:
    """One proxy and the hosts that go through it: exact names, ``*.suffix``, or ``*``."""

    url: str
    include: tuple[str, ...]
    exclude: tuple[str, ...]

    def covers(self, host: str) -> bool:
        """Whether ``host`` is included by a more specific pattern than it is excluded by."""
        included = _specificity(self.include or ("*",), host)
        return included is not None and included > (_specificity(self.exclude, host) or -1)


@dataclass(frozen=True, slots=True)
class Proxy:
    """The proxies of outgoing requests, in order of the file. No rule: no proxy."""

    rules: tuple[ProxyRule, ...] = ()

    def get_url(self, host: str) -> str | None:
        """The proxy for requests to ``host``: that of the first rule covering it."""
        return next((rule.url for rule in self.rules if rule.covers(host)), None)


def _specificity(patterns: tuple[str, ...], host: str) -> int | None:
    """Length of the longest pattern that matches; an exact name beats every wildcard. `None`: no match."""
    host = host.lower()
    matches: list[int] = []
    for pattern in patterns:
        if pattern.startswith("*"):
            if host.endswith(pattern[1:]):
                matches.append(len(pattern))
        elif pattern == host:
            matches.append(len(pattern) + 2)
    return max(matches, default=None)


@dataclass(frozen=True, slots=True)
class DirectoryStructure:
    """Media files lie ``depth`` directories deep, each named by ``length`` digits of the hash; depth 0 is flat."""

    depth: int
    length: int


class MediaScope(Enum):
    """The kinds of stored media that a retention policy tells apart."""

    LOCAL = "local"
    REMOTE = "remote"
    THUMBNAIL = "thumbnail"


@dataclass(frozen=True, slots=True)
class MediaRetention:
    """What a file of one scope must satisfy to be kept: seconds since access and creation, bytes of the whole scope."""

    accessed: int | None = None
    created: int | None = None
    space: int | None = None


@dataclass(frozen=True, slots=True)
class RetentionPolicies:
    """Policies by scope, and the bytes all media together may take. A scope that is absent is kept for ever."""

    scoped: Mapping[MediaScope, MediaRetention]
    global_space: int | None


@dataclass(frozen=True, slots=True)
class S3:
    """An S3 bucket that holds the media files."""

    endpoint: str
    bucket: str
    region: str
    path: str | None
    key: Secret
    secret: Secret
    duration: int
    bucket_use_path: bool


@dataclass(frozen=True, slots=True)
class Media:
    """Where media files lie and for how long. ``s3`` is set if and only if ``backend`` says so."""

    backend: Literal["filesystem", "s3"]
    path: Path
    directory_structure: DirectoryStructure
    retention: RetentionPolicies
    remote_size_max: int
    allow_legacy: bool
    s3: S3 | None


@dataclass(frozen=True, slots=True)
class Backup:
    """What is promised to copies of the running server's directory, and how many snapshots are kept in it."""

    copy_seconds: int
    copy_growth_mb: int
    snapshot_interval: int
    snapshots_kept: int


@dataclass(frozen=True, slots=True)
class IgnoredKeys:
    """Signing keys never to be trusted: by public key (unpadded base64), or by server and key id."""

    public_keys: frozenset[str]
    key_ids: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """The cost of one argon2id password hash; ``memory`` is in KiB."""

    time: int
    memory: int
    parallelism: int


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A token bucket: ``per_second`` operations in the long run, ``burst`` at once."""

    per_second: float
    burst: int


@dataclass(frozen=True, slots=True)
class RateLimits:
    """One limit for each kind of operation; none applies unless ``enabled``."""

    enabled: bool
    login: RateLimit
    registration: RateLimit
    message: RateLimit
    room_creation: RateLimit
    join: RateLimit
    invite: RateLimit
    media_upload: RateLimit
    media_fetch: RateLimit
    federation: RateLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything the server was told at start. See `conduit_py.config.keys` for the meaning of each field."""

    server_name: str
    address: IpAddress
    port: int
    unix_socket_path: Path | None
    unix_socket_perms: FileMode
    trusted_proxies: tuple[IpNetwork, ...]
    tls: Tls | None
    well_known: WellKnown

    database_path: Path
    db_cache_capacity_mb: float
    database_reserve_mb: int
    backup: Backup

    workers: int | None
    max_request_size: int
    client_sync_timeout_default: int
    client_sync_timeout_max: int
    rate_limits: RateLimits

    allow_registration: bool
    registration_token: Secret | None
    allow_guest_registration: bool
    require_admin_token: bool
    emergency_password: Secret | None
    jwt_secret: Secret | None
    access_token_ttl: int | None
    openid_token_ttl: int
    appservices: tuple[Registration, ...]
    enable_lightning_bolt: bool
    password_hash: PasswordHash

    allow_room_creation: bool
    allow_encryption: bool
    default_room_version: str
    allow_unstable_room_versions: bool

    allow_local_presence: bool
    presence_idle_timeout: int
    presence_offline_timeout: int
    typing_client_timeout_min: int
    typing_client_timeout_max: int
    typing_federation_timeout: int

    allow_federation: bool
    trusted_servers: tuple[str, ...]
    ignored_keys: IgnoredKeys
    forbidden_remote_server_names: tuple[str, ...]
    max_concurrent_requests: int
    max_fetch_prev_events: int
    allow_incoming_presence: bool
    allow_outgoing_presence: bool
    proxy: Proxy
    ip_range_denylist: tuple[IpNetwork, ...]
    ca_certificates: Path | None

    media: Media
    turn: Turn | None

    log: str
    log_format: Literal["text", "json"]
    metrics_address: SocketAddress | Path | None
    allow_jaeger: bool
    tracing_flame: bool

    def describe(self) -> str:
        """One ``key = value`` line for each setting in force, secrets hidden, for people and admin commands."""
        return "".join(f"{name} = {_shown(value)}\n" for name, value in _leaves(self, ""))


def _leaves(section: object, prefix: str) -> Iterator[tuple[str, object]]:
    if is_dataclass(section) and not isinstance(section, (type, SocketAddress, ProxyRule)):
        for field in fields(section):
            yield from _leaves(getattr(section, field.name), f"{prefix}.{field.name}" if prefix else field.name)
    else:
        yield prefix, section


def _shown(value: object) -> str:
    match value:
        case None:
            return "(not set)"
        case bool():
            return "true" if value else "false"
        case Secret():
            return HIDDEN
        case Enum():
            return str(value.value)
        case MediaRetention() | ProxyRule():
            parts = ((field.name, getattr(value, field.name)) for field in fields(value))
            return "{" + ", ".join(f"{name} = {_shown(part)}" for name, part in parts if part is not None) + "}"
        case Mapping():
            return "{" + ", ".join(f"{_shown(key)} = {_shown(item)}" for key, item in value.items()) + "}"
        case frozenset():
            return _shown(tuple(sorted(value)))
        case tuple():
            return "[" + ", ".join(map(_shown, value)) + "]"
        case int() | float():
            return str(value)
        case _:
            return f'"{value}"'
