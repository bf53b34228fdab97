"""The kinds of value a key can have: how one is read, and how to say what was expected.

A kind reads a plain TOML value (str, int, float, bool, list, dict). It raises `Unfit` when the value is of another
kind. Empty strings never arrive here: they mean "not set" (`conduit_py.config.load`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from conduit_py.config.model import FileMode, IpAddress, IpNetwork, Secret, SocketAddress
from conduit_py.matrix.ids import Malformed, parse_server_name, parse_user_id


class Unfit(Exception):
    """The value is not of the kind; ``at`` leads from the value to the part that is wrong, ``found`` is that part."""

    def __init__(self, expected: str, found: object, at: tuple[str | int, ...] = ()) -> None:
        super().__init__(expected)
        self.expected = expected
        self.found = found
        self.at = at


@dataclass(frozen=True, slots=True)
class Kind:
    """``read`` turns a TOML value into ours. ``is_text``: the content of an environment variable is the value."""

    name: str
    read: Callable[[object], object]
    is_text: bool = False
    is_secret: bool = False


def fit(kind: Kind, value: object, at: tuple[str | int, ...]) -> object:
    """Read a part of a larger value, so that a complaint leads to that part."""
    try:
        return kind.read(value)
    except Unfit as unfit:
        raise Unfit(unfit.expected, unfit.found, (*at, *unfit.at)) from None


def _read_bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise Unfit("true or false", value)
    return value


BOOL = Kind("true or false", _read_bool)


def integer(least: int, most: int) -> Kind:
    """A whole number in a range that includes both ends."""
    expected = f"a whole number from {least} to {most}"

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise Unfit(expected, value)
        return value

    return Kind(expected, read)


def number(least: float, most: float) -> Kind:
    """A number, whole or not, in a range that includes both ends. Infinities and NaN are in no range."""
    expected = f"a number from {least:g} to {most:g}"

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise Unfit(expected, value)
        return float(value)

    return Kind(expected, read)


def _text(value: object, expected: str) -> str:
    if not isinstance(value, str):
        raise Unfit(expected, value)
    return value


TEXT = Kind("text in quotes", lambda value: _text(value, "text in quotes"), is_text=True)
SECRET = Kind("text in quotes", lambda value: Secret(_text(value, "text in quotes")), is_text=True, is_secret=True)


def choice(*words: str) -> Kind:
    """One of a few words."""
    expected = "one of " + ", ".join(f'"{word}"' for word in words)

    def read(value: object) -> str:
        if value not in words:
            raise Unfit(expected, value)
        return str(value)

    return Kind(expected, read, is_text=True)


def _read_path(value: object) -> Path:
    expected = "a path in quotes"
    text = _text(value, expected)
    if "\0" in text:
        raise Unfit(expected, value)
    return Path(text).expanduser()


PATH = Kind("a path in quotes", _read_path, is_text=True)


def _read_ip(value: object) -> IpAddress:
    expected = 'an IP address such as "127.0.0.1" or "::1"'
    try:
        return ip_address(_text(value, expected))
    except ValueError:
        raise Unfit(expected, value) from None


IP = Kind("an IP address", _read_ip, is_text=True)


def _read_network(value: object) -> IpNetwork:
    expected = 'a range of addresses such as "10.0.0.0/8" or "fc00::/7"'
    try:
        return ip_network(_text(value, expected), strict=False)
    except ValueError:
        raise Unfit(expected, value) from None


NETWORK = Kind("a range of IP addresses", _read_network, is_text=True)


def _read_socket_address(value: object) -> SocketAddress:
    expected = 'an address with a port such as "127.0.0.1:9090" or "[::1]:9090"'
    host, _, port = _text(value, expected).rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535 or bracketed != (":" in host):
        raise Unfit(expected, value)
    try:
        return SocketAddress(ip_address(host.strip("[]")), int(port))
    except ValueError:
        raise Unfit(expected, value) from None


def _read_listening(value: object) -> SocketAddress | Path:
    if isinstance(value, str) and "/" in value:
        return Path(value)
    return _read_socket_address(value)


LISTENING = Kind("an IP address with a port, or a path in quotes", _read_listening, is_text=True)


def _read_mode(value: object) -> FileMode:
    # Quoted only: a bare 660 would mean decimal 660, and 0o660 reaches us as decimal 432.
    expected = 'permissions as three octal digits in quotes, such as "660"'
    text = _text(value, expected)
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise Unfit(expected, value)
    return FileMode(text, 8)


MODE = Kind("three octal digits in quotes", _read_mode, is_text=True)

SERVER_NAME_CHARS_MAX = 230
"""Leaves room for a user's name inside the 255 bytes of a user id. Spec: appendices/#server-name"""


def _read_server_name(value: object) -> str:
    expected = 'a server name such as "example.org" or "example.org:8448", without https:// and without a path'
    try:
        name = parse_server_name(_text(value, expected))
    except Malformed:
        raise Unfit(expected, value) from None
    port = name.rpartition("]")[2].partition(":")[2]
    if len(name) > SERVER_NAME_CHARS_MAX or (port and not 1 <= int(port) <= 65535):
        raise Unfit(expected, value)
    return name


SERVER_NAME = Kind("a server name", _read_server_name, is_text=True)


def _read_user_id(value: object) -> str:
    expected = 'a user id such as "@admin:example.org"'
    try:
        return parse_user_id(_text(value, expected))
    except Malformed:
        raise Unfit(expected, value) from None


USER_ID = Kind("a user id", _read_user_id, is_text=True)


def _read_email(value: object) -> str:
    expected = 'an e-mail address such as "admin@example.org"'
    text = _text(value, expected)
    if not re.fullmatch(r"[^\s@]+@[^\s@]+", text):
        raise Unfit(expected, value)
    return text


EMAIL = Kind("an e-mail address", _read_email, is_text=True)


def _read_server_glob(value: object) -> str:
    expected = 'a server name in which * and ? stand for any letters, such as "*.example.org"'
    text = _text(value, expected)
    if not re.fullmatch(r"[0-9A-Za-z.:\[\]*?-]+", text):
        raise Unfit(expected, value)
    return text.lower()


SERVER_GLOB = Kind("a server name, * and ? allowed", _read_server_glob, is_text=True)


def url(*schemes: str) -> Kind:
    """An absolute URL of one of the schemes, kept as text; one that carries a password is a secret."""
    expected = "a URL starting with " + " or ".join(f"{scheme}://" for scheme in schemes)

    def read(value: object) -> str:
        text = _text(value, expected)
        try:
            parts = urlsplit(text)
            well_formed = parts.scheme in schemes and parts.hostname is not None and parts.port != 0
        except ValueError:
            well_formed = False
        if not well_formed or re.search(r"[\s\0]", text):
            raise Unfit(expected, "a URL with a password" if "@" in text else value)
        return Secret(text) if "@" in text else text

    return Kind(expected, read, is_text=True)


_DURATION_S: Mapping[str, float] = {
    "s": 1, "sec": 1, "second": 1,
    "m": 60, "min": 60, "minute": 60,
    "h": 3600, "hr": 3600, "hour": 3600,
    "d": 86_400, "day": 86_400,
    "w": 604_800, "week": 604_800,
    "M": 2_630_016, "month": 2_630_016,
    "y": 31_557_600, "year": 31_557_600,
}  # fmt: skip


def _read_duration(value: object) -> int:
    expected = 'a time in seconds, or text such as "30d", "12h 30min" or "2months"'
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if not isinstance(value, str) or not re.fullmatch(r"\s*(?:[0-9]+\s*[A-Za-z]*\s*)+", value):
        raise Unfit(expected, value)
    seconds = 0.0
    for digits, unit in re.findall(r"([0-9]+)\s*([A-Za-z]*)", value):
        length = _DURATION_S.get(unit or "s", _DURATION_S.get(unit.rstrip("s")))
        if length is None:
            raise Unfit(expected, value)
        seconds += int(digits) * length
    if seconds < 1:
        raise Unfit(expected, value)
    return int(seconds)


DURATION = Kind("a time: seconds, or text such as 30d", _read_duration)

_SIZE_POWER = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def _read_size(value: object) -> int:
    expected = 'a size in bytes, or text such as "500 MB" or "15GiB"'
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(i?)B?\s*", _text(value, expected), re.IGNORECASE)
    if match is None:
        raise Unfit(expected, value)
    base = 1024 if match[3] else 1000
    size = int(float(match[1]) * base ** _SIZE_POWER[match[2].upper()])
    if size < 1:
        raise Unfit(expected, value)
    return size


SIZE = Kind("a size: bytes, or text such as 15GiB", _read_size)


def within(kind: Kind, least: int, most: int) -> Kind:
    """The same kind, restricted to results from ``least`` to ``most``."""

    def read(value: object) -> object:
        result = kind.read(value)
        if not isinstance(result, int) or not least <= result <= most:
            raise Unfit(f"{kind.name}, from {least} to {most}", value)
        return result

    return Kind(f"{kind.name}, from {least} to {most}", read)


def list_of(kind: Kind) -> Kind:
    """A list; empty strings in it are passed over."""
    expected = f"a list, each item {kind.name}"

    def read(value: object) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise Unfit(expected, value)
        return tuple(fit(kind, item, (place,)) for place, item in enumerate(value) if item != "")

    return Kind(expected, read)
