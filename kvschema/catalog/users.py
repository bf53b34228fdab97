"""Accounts, profiles, devices and the tokens that open sessions."""

from __future__ import annotations

from typing import Any, NamedTuple

from kvschema.catalog.rooms import ShortUserId, StreamPos
from kvschema.codec import COUNT, JSON, NOTHING, TEXT, U64, Fixed, Key, Text, record
from kvschema.tree import Tree

DEVICE_ID_BYTES_MAX = 255
PROFILE_KEY_BYTES_MAX = 255
UIA_SESSIONS_MAX = 10_000
"""Pending at a time. Anybody can begin one without an account."""
FILTERS_PER_USER_MAX = 1000
REGISTRATION_TOKEN_BYTES_MAX = 64
REGISTRATION_TOKENS_MAX = 1000
OPENID_TOKENS_PER_USER_MAX = 50
REPORTS_PER_USER_MAX = 100
PASSWORD_LINKS_MAX = 1000
NAME_WORD_BYTES_MAX = 64


class ByUser(NamedTuple):
    user: ShortUserId


class LastPresence(NamedTuple):
    """What is left of a user's presence when they are gone."""

    status_msg: str
    """Empty for none."""
    active_ms: int
    """When last active, 0 for never."""


class UserDevice(NamedTuple):
    user: ShortUserId
    device_id: str


class UserKey(NamedTuple):
    user: ShortUserId
    key_name: str


class ByTokenHash(NamedTuple):
    """SHA-256 of a token: a stolen copy of the database opens no session."""

    token_hash: bytes


class UserDeviceToken(NamedTuple):
    user: ShortUserId
    device_id: str
    token_hash: bytes


class UserDigest(NamedTuple):
    user: ShortUserId
    digest: bytes


class BySession(NamedTuple):
    session: str


class UserTokenHash(NamedTuple):
    user: ShortUserId
    token_hash: bytes


class ByRegistrationToken(NamedTuple):
    token: str


class UserReport(NamedTuple):
    """A report by the user who made it, oldest first."""

    reporter: ShortUserId
    pos: StreamPos


class NameWord(NamedTuple):
    """A word of a user's name, in small letters and cut off at NAME_WORD_BYTES_MAX."""

    word: str
    user: ShortUserId


class Account(NamedTuple):
    """A local account."""

    password_hash: str
    """argon2id in PHC format; empty: no password opens it."""
    created_ms: int
    is_admin: bool = False
    is_deactivated: bool = False
    is_guest: bool = False
    is_locked: bool = False
    is_suspended: bool = False


class Device(NamedTuple):
    created_ms: int
    display_name: str | None = None
    last_seen_ms: int = 0
    last_seen_ip: str = ""


class Token(NamedTuple):
    """What an access or refresh token stands for."""

    user_id: str
    user: ShortUserId
    device_id: str
    expires_ms: int = 0
    """0: until logout."""
    is_refresh: bool = False
    replaces: bytes = b""
    """Hash of the refresh token it was handed out for, which stays valid until this one is used; empty from then on."""


class LoginToken(NamedTuple):
    user_id: str
    expires_ms: int


class OpenIdToken(NamedTuple):
    expires_ms: int


class RegistrationToken(NamedTuple):
    """What an administrator lets people register with."""

    created_ms: int
    uses_max: int | None = None
    """None: as often as wanted."""
    uses: int = 0
    """Accounts that were made with it."""
    expires_ms: int = 0
    """0: never."""


class Report(NamedTuple):
    """What a user told the administrators of: a user, a room, or an event of a room."""

    reported_ms: int
    user_id: str = ""
    """The user reported; empty if it is a room or an event."""
    room_id: str = ""
    event_id: str = ""
    reason: str = ""


class PasswordLink(NamedTuple):
    """Whoever has the link sets the password of an account."""

    user: ShortUserId
    expires_ms: int


class UiaSession(NamedTuple):
    """A pending user-interactive authentication. Holds no password."""

    operation: str
    user_id: str
    device_id: str
    completed: tuple[str, ...]
    created_ms: int
    params: dict[str, str]
    """What has to stay the same until the last stage, without secrets."""
    token: str = ""
    """The registration token that was given on a page, which counts when the account is made."""


USERID_ACCOUNT: Tree[ByUser, Account] = Tree(
    "userid_password",
    Key(ByUser, (U64(),)),
    record(Account),
    since=1,
    doc="Local accounts with their password hash.",
    bound="one row per account ever made; user names are never given out twice",
)
USERIDPROFILEKEY_VALUE: Tree[UserKey, Any] = Tree(
    "useridprofilekey_value",
    Key(UserKey, (U64(), Text(PROFILE_KEY_BYTES_MAX))),
    JSON,
    since=1,
    doc="Profile fields of local users.",
    bound="64 KiB per local user, the spec's limit on a whole profile",
)
USERDEVICEID_METADATA: Tree[UserDevice, Device] = Tree(
    "userdeviceid_metadata",
    Key(UserDevice, (U64(), Text(DEVICE_ID_BYTES_MAX))),
    record(Device),
    since=1,
    doc="Devices; a device exists while its row does.",
    bound="one row per session; logging out removes it",
)
TOKEN_USERDEVICEID: Tree[ByTokenHash, Token] = Tree(
    "token_userdeviceid",
    Key(ByTokenHash, (Fixed(32),)),
    record(Token),
    since=1,
    doc="Access and refresh tokens, by hash.",
    bound="at most four rows per device, which go with it: two in use, and two given out that were not used yet",
)
USERDEVICEID_TOKEN: Tree[UserDeviceToken, None] = Tree(
    "userdeviceid_token",
    Key(UserDeviceToken, (U64(), Text(DEVICE_ID_BYTES_MAX), Fixed(32))),
    NOTHING,
    since=1,
    doc="The tokens of a device.",
    bound="as token_userdeviceid",
    derived="token_userdeviceid",
)
LOGINTOKEN_EXPIRESATUSERID: Tree[ByTokenHash, LoginToken] = Tree(
    "logintoken_expiresatuserid",
    Key(ByTokenHash, (Fixed(32),)),
    record(LoginToken),
    since=1,
    doc="Short-lived login tokens, by hash.",
    bound="live for two minutes; used and expired ones are swept",
)
UIAASESSION: Tree[BySession, UiaSession] = Tree(
    "userdevicesessionid_uiaainfo",
    Key(BySession, (Text(64),)),
    record(UiaSession),
    since=1,
    doc="Pending user-interactive authentications.",
    bound="UIA_SESSIONS_MAX rows; removed when complete, swept an hour after they began",
)
USERFILTERID_FILTER: Tree[UserDigest, str] = Tree(
    "userfilterid_filter",
    Key(UserDigest, (U64(), Fixed(16))),
    TEXT,
    since=1,
    doc="Uploaded filters as JSON, by their digest: the same filter is stored once.",
    bound="FILTERS_PER_USER_MAX rows per user",
)
LEAVINGUSERIDS: Tree[ByUser, None] = Tree(
    "leavinguserids",
    Key(ByUser, (U64(),)),
    NOTHING,
    since=1,
    doc="Deactivated users who are still in rooms.",
    bound="one row per account being deactivated; removed when the last room is left",
)
USERID_ERASEDPOS: Tree[ByUser, int] = Tree(
    "userid_erasedpos",
    Key(ByUser, (U64(),)),
    COUNT,
    since=1,
    doc="Users who asked to be erased, and when: who joins a room later gets their events redacted.",
    bound="one row per account that was deactivated so",
)
REGISTRATIONTOKEN_INFO: Tree[ByRegistrationToken, RegistrationToken] = Tree(
    "registrationtoken_info",
    Key(ByRegistrationToken, (Text(REGISTRATION_TOKEN_BYTES_MAX),)),
    record(RegistrationToken),
    since=1,
    doc="Tokens that administrators made for people to register with.",
    bound="REGISTRATION_TOKENS_MAX rows, made and removed by administrators",
)
OPENIDTOKEN_EXPIRESATUSERID: Tree[UserTokenHash, OpenIdToken] = Tree(
    "openidtoken_expiresatuserid",
    Key(UserTokenHash, (U64(), Fixed(32))),
    record(OpenIdToken),
    since=1,
    doc="OpenID tokens, by user and hash.",
    bound="OPENID_TOKENS_PER_USER_MAX rows per user; expired ones are swept",
)
USERREPORT: Tree[UserReport, Report] = Tree(
    "userid_report",
    Key(UserReport, (U64(), U64())),
    record(Report),
    since=1,
    doc="What users reported to the administrators.",
    bound="REPORTS_PER_USER_MAX rows per user: a newer report removes the oldest",
)
NAMEWORD_USERID: Tree[NameWord, None] = Tree(
    "nameword_userid",
    Key(NameWord, (Text(NAME_WORD_BYTES_MAX), U64())),
    NOTHING,
    since=1,
    doc="The words of local users' ids and display names, for searching the user directory.",
    bound="as many rows per local user as the two names have words",
    derived="userid_password, useridprofilekey_value",
)

PASSWORDLINK: Tree[ByTokenHash, PasswordLink] = Tree(
    "passwordlink",
    Key(ByTokenHash, (Fixed(32),)),
    record(PasswordLink),
    since=1,
    doc="Links with which people choose a password, by the hash of the token in them.",
    bound="one row per account and PASSWORD_LINKS_MAX at most; used ones go, expired ones with the next that is made",
)

USERID_PRESENCE: Tree[ByUser, LastPresence] = Tree(
    "userid_presence",
    Key(ByUser, (U64(),)),
    record(LastPresence),
    since=1,
    doc="The status message of a local user, and when they were last active. Conduit's presenceid_presence.",
    bound="at most one row per account",
)

TREES = (
    USERID_ACCOUNT,
    USERIDPROFILEKEY_VALUE,
    USERDEVICEID_METADATA,
    TOKEN_USERDEVICEID,
    USERDEVICEID_TOKEN,
    LOGINTOKEN_EXPIRESATUSERID,
    UIAASESSION,
    USERFILTERID_FILTER,
    LEAVINGUSERIDS,
    USERID_ERASEDPOS,
    REGISTRATIONTOKEN_INFO,
    OPENIDTOKEN_EXPIRESATUSERID,
    USERREPORT,
    NAMEWORD_USERID,
    PASSWORDLINK,
    USERID_PRESENCE,
)
