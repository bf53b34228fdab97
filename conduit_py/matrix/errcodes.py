"""Every ``errcode`` of the specification.

How to read one: the code says more than the HTTP status, except for ``M_UNKNOWN``, where the status is what counts.

Spec: client-server-api/#standard-error-response
"""

from __future__ import annotations

from enum import StrEnum


class Errcode(StrEnum):
    """The value is what stands in ``errcode``; codes that need more keys in the answer say so."""

    # Any endpoint. Spec: client-server-api/#common-error-codes
    M_BAD_JSON = "M_BAD_JSON"
    """Valid JSON of the wrong shape: keys missing, values of the wrong type."""
    M_FORBIDDEN = "M_FORBIDDEN"
    M_LIMIT_EXCEEDED = "M_LIMIT_EXCEEDED"
    """With a ``Retry-After`` header, and ``retry_after_ms`` for older clients."""
    M_MISSING_TOKEN = "M_MISSING_TOKEN"
    M_NOT_FOUND = "M_NOT_FOUND"
    M_NOT_JSON = "M_NOT_JSON"
    M_RESOURCE_LIMIT_EXCEEDED = "M_RESOURCE_LIMIT_EXCEEDED"
    """The homeserver's own limit. Needs ``admin_contact``."""
    M_UNKNOWN = "M_UNKNOWN"
    M_UNKNOWN_DEVICE = "M_UNKNOWN_DEVICE"
    """An application service asserted a device that the user does not have."""
    M_UNKNOWN_TOKEN = "M_UNKNOWN_TOKEN"
    """May carry ``soft_logout``."""
    M_UNRECOGNIZED = "M_UNRECOGNIZED"
    """No such endpoint (404) or no such method on it (405)."""
    M_USER_LIMIT_EXCEEDED = "M_USER_LIMIT_EXCEEDED"
    """The account's limit. Needs ``info_uri``, may carry ``can_upgrade``."""
    M_USER_LOCKED = "M_USER_LOCKED"
    """With ``soft_logout`` true."""
    M_USER_SUSPENDED = "M_USER_SUSPENDED"

    # Accounts and login
    M_APPSERVICE_LOGIN_UNSUPPORTED = "M_APPSERVICE_LOGIN_UNSUPPORTED"
    M_CAPTCHA_INVALID = "M_CAPTCHA_INVALID"
    M_CAPTCHA_NEEDED = "M_CAPTCHA_NEEDED"
    M_EXCLUSIVE = "M_EXCLUSIVE"
    """The name belongs to an application service's namespace, or is outside of the asking one's."""
    M_INVALID_USERNAME = "M_INVALID_USERNAME"
    M_UNAUTHORIZED = "M_UNAUTHORIZED"
    M_USER_DEACTIVATED = "M_USER_DEACTIVATED"
    M_USER_IN_USE = "M_USER_IN_USE"
    M_WEAK_PASSWORD = "M_WEAK_PASSWORD"

    # Requests
    M_INVALID_PARAM = "M_INVALID_PARAM"
    M_MISSING_PARAM = "M_MISSING_PARAM"
    M_MISSING_PARAMS = "M_MISSING_PARAMS"
    """The identity service's spelling of ``M_MISSING_PARAM``."""
    M_TOO_LARGE = "M_TOO_LARGE"

    # Rooms
    M_BAD_ALIAS = "M_BAD_ALIAS"
    """``m.room.canonical_alias`` names an alias that does not point to the room."""
    M_BAD_STATE = "M_BAD_STATE"
    """The change makes no sense now, such as unbanning somebody who is not banned."""
    M_CANNOT_LEAVE_SERVER_NOTICE_ROOM = "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM"
    M_DUPLICATE_ANNOTATION = "M_DUPLICATE_ANNOTATION"
    M_GUEST_ACCESS_FORBIDDEN = "M_GUEST_ACCESS_FORBIDDEN"
    M_INCOMPATIBLE_ROOM_VERSION = "M_INCOMPATIBLE_ROOM_VERSION"
    """The room exists in a version that the asking server does not know. Needs ``room_version``."""
    M_INVALID_ROOM_STATE = "M_INVALID_ROOM_STATE"
    M_INVITE_BLOCKED = "M_INVITE_BLOCKED"
    M_ROOM_IN_USE = "M_ROOM_IN_USE"
    """The alias of a new room is taken."""
    M_UNABLE_TO_AUTHORISE_JOIN = "M_UNABLE_TO_AUTHORISE_JOIN"
    """A resident server cannot tell whether a restricted room may be joined: ask another."""
    M_UNABLE_TO_GRANT_JOIN = "M_UNABLE_TO_GRANT_JOIN"
    """A resident server sees that the user may join, but none of its users may invite: ask another."""
    M_UNSUPPORTED_ROOM_VERSION = "M_UNSUPPORTED_ROOM_VERSION"
    """A room of a version that this server does not know was to be created."""

    # Profiles
    M_KEY_TOO_LARGE = "M_KEY_TOO_LARGE"
    M_PROFILE_TOO_LARGE = "M_PROFILE_TOO_LARGE"

    # End-to-end encryption
    M_INVALID_SIGNATURE = "M_INVALID_SIGNATURE"
    M_WRONG_ROOM_KEYS_VERSION = "M_WRONG_ROOM_KEYS_VERSION"
    """Needs ``current_version``."""

    # Media
    M_CANNOT_OVERWRITE_MEDIA = "M_CANNOT_OVERWRITE_MEDIA"
    M_NOT_YET_UPLOADED = "M_NOT_YET_UPLOADED"

    # Third-party identifiers and the identity service
    M_DESTINATION_REJECTED = "M_DESTINATION_REJECTED"
    M_EMAIL_SEND_ERROR = "M_EMAIL_SEND_ERROR"
    M_INVALID_ADDRESS = "M_INVALID_ADDRESS"
    M_INVALID_EMAIL = "M_INVALID_EMAIL"
    M_INVALID_PEPPER = "M_INVALID_PEPPER"
    M_NO_VALID_SESSION = "M_NO_VALID_SESSION"
    M_SEND_ERROR = "M_SEND_ERROR"
    M_SERVER_NOT_TRUSTED = "M_SERVER_NOT_TRUSTED"
    M_SESSION_EXPIRED = "M_SESSION_EXPIRED"
    M_SESSION_NOT_VALIDATED = "M_SESSION_NOT_VALIDATED"
    M_TERMS_NOT_SIGNED = "M_TERMS_NOT_SIGNED"
    M_THREEPID_AUTH_FAILED = "M_THREEPID_AUTH_FAILED"
    M_THREEPID_DENIED = "M_THREEPID_DENIED"
    M_THREEPID_IN_USE = "M_THREEPID_IN_USE"
    M_THREEPID_MEDIUM_NOT_SUPPORTED = "M_THREEPID_MEDIUM_NOT_SUPPORTED"
    M_THREEPID_NOT_FOUND = "M_THREEPID_NOT_FOUND"
    M_TOKEN_INCORRECT = "M_TOKEN_INCORRECT"

    # Application services, asked to be pinged
    M_BAD_STATUS = "M_BAD_STATUS"
    """May carry ``status`` and ``body`` of the service's answer."""
    M_CONNECTION_FAILED = "M_CONNECTION_FAILED"
    M_CONNECTION_TIMEOUT = "M_CONNECTION_TIMEOUT"
    M_URL_NOT_SET = "M_URL_NOT_SET"
