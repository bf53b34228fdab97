"""Pushers: where a user's notifications are sent, and how far each has got."""

from __future__ import annotations

from typing import Any, NamedTuple

from kvschema.catalog.rooms import ShortUserId
from kvschema.codec import NOTHING, U64, Fixed, Key, record
from kvschema.tree import Tree

PUSHERS_PER_USER_MAX = 50


class PusherKey(NamedTuple):
    user: ShortUserId
    digest: bytes
    """BLAKE2b-16 of app id and pushkey."""


class PushkeyUser(NamedTuple):
    digest: bytes
    user: ShortUserId


class Pusher(NamedTuple):
    """What its client said of it."""

    app_id: str
    pushkey: str
    app_display_name: str
    device_display_name: str
    lang: str
    profile_tag: str | None
    data: dict[str, Any]
    """With the gateway's ``url``."""
    device_id: str
    """Of the session that made it, with which it goes; empty for one of an application service."""
    set_ms: int
    """When it was set the last time."""


class Pushed(NamedTuple):
    """How far a pusher has got."""

    pos: int
    """Everything up to here was pushed, or need not be."""
    unread: int = 0
    """The number of unread messages that the gateway was told last."""
    failures: int = 0
    """In a row."""
    retry_ms: int = 0
    """When the gateway may be asked again after a failure."""


SENDERKEY_PUSHER: Tree[PusherKey, Pusher] = Tree(
    "senderkey_pusher",
    Key(PusherKey, (U64(), Fixed(16))),
    record(Pusher),
    since=1,
    doc="A user's pushers.",
    bound="at most PUSHERS_PER_USER_MAX for each local user; goes with its session",
)
PUSHKEY_USER: Tree[PushkeyUser, None] = Tree(
    "pushkey_userid",
    Key(PushkeyUser, (Fixed(16), U64())),
    NOTHING,
    since=1,
    doc="Users who have a pusher with an app id and pushkey, most often one.",
    bound="as senderkey_pusher",
    derived="senderkey_pusher",
)
SENDERKEY_PUSHED: Tree[PusherKey, Pushed] = Tree(
    "senderkey_pushed",
    Key(PusherKey, (U64(), Fixed(16))),
    record(Pushed),
    since=1,
    doc="How far each pusher has got in what notified its user.",
    bound="one row for each pusher",
)

TREES = (SENDERKEY_PUSHER, PUSHKEY_USER, SENDERKEY_PUSHED)
