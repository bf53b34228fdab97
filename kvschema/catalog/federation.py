"""What is known of other servers: their signing keys, and where they are reached."""

from __future__ import annotations

from typing import NamedTuple

from kvschema.codec import Key, Text, record
from kvschema.tree import Tree

SERVER_NAME_BYTES_MAX = 262
"""A host of 255 characters, a colon, and five digits of a port, and one to spare."""
KEY_ID_BYTES_MAX = 128
"""Longer ones than any server has; a key of that name is taken for unknown."""

SERVERS_WITH_KEYS_MAX = 20_000
KEYS_PER_SERVER_MAX = 64
DELEGATIONS_MAX = 20_000


class ByServer(NamedTuple):
    server_name: str


class ServerKey(NamedTuple):
    server_name: str
    key_id: str


class SigningKeyRow(NamedTuple):
    """A public key of another server, ever published by it."""

    public_key: bytes
    valid_until_ts: int
    """The lesser of what the server claimed and 7 days after it was fetched; ``expired_ts`` of an old key."""
    is_old: bool = False
    """Was it among ``old_verify_keys``? Such a key signs events, never requests."""


class KeyResponse(NamedTuple):
    """The last answer of a server to the question for its keys, as it came: what a notary hands on."""

    json: bytes
    fetched_ms: int
    valid_until_ts: int


class Delegation(NamedTuple):
    """What ``/.well-known/matrix/server`` of a host said."""

    delegated: str
    """The server name it delegates to; empty: none, or no valid answer."""
    expires_ms: int
    """When it is asked again."""
    failures: int = 0
    """Asked in vain how often since it last answered."""
    usable_until_ms: int = 0
    """Until when ``delegated`` goes on to count while the host cannot be asked."""


SERVER_SIGNINGKEYS: Tree[ServerKey, SigningKeyRow] = Tree(
    "server_signingkeys",
    Key(ServerKey, (Text(SERVER_NAME_BYTES_MAX), Text(KEY_ID_BYTES_MAX))),
    record(SigningKeyRow),
    since=1,
    doc="Public keys of other servers, those they no longer publish included.",
    bound="KEYS_PER_SERVER_MAX per row of server_keyresponse",
)
SERVER_KEYRESPONSE: Tree[ByServer, KeyResponse] = Tree(
    "server_keyresponse",
    Key(ByServer, (Text(SERVER_NAME_BYTES_MAX),)),
    record(KeyResponse),
    since=1,
    doc="Each other server's last answer about its keys.",
    bound="SERVERS_WITH_KEYS_MAX; those fetched longest ago go first",
)
SERVERNAME_DESTINATION: Tree[ByServer, Delegation] = Tree(
    "servername_destination",
    Key(ByServer, (Text(SERVER_NAME_BYTES_MAX),)),
    record(Delegation),
    since=1,
    doc="Where hosts delegate their servers to, so that a restart does not ask all of them anew.",
    bound="DELEGATIONS_MAX; those that expire first go first",
)

TREES = (SERVER_SIGNINGKEYS, SERVER_KEYRESPONSE, SERVERNAME_DESTINATION)
