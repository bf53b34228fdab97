"""Order-preserving, self-delimiting key codecs and plain value codecs.

Every key codec keeps two laws, checked for each tree by tests/kvschema/test_codec_laws.py:

    decode(encode(k)) == k                       (round trip, so encode is injective)
    encode(a) < encode(b)  iff  a < b            (byte order is key order)

Integers are fixed-width big-endian. A text part ends in 0x00 0x00, and a NUL inside it is written 0x00 0xFF, so no
part can run into the next one and there is no separator byte to forget. NUL is the only character that takes more room
than in UTF-8, because no Matrix identifier may hold it: a valid identifier always fits its 255 bytes. The functions of
a key are generated once at import from its parts: a key is encoded several times in every request, and interpreting the
parts per call costs three times as much.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, TypeVar

import msgpack
import orjson

from kvschema.errors import CorruptValue

KEY_BYTES_MAX = 511
"""LMDB's compiled-in limit; the engine checks it at open."""

_I64_BIAS = 1 << 63
_TERMINATOR = b"\x00\x00"


class KeyTooLong(ValueError):
    """A text does not fit its column, so no row has it: reads answer that there is none, staging a write raises."""


@dataclass(frozen=True)
class U64:
    """An unsigned integer of 8 bytes."""

    bytes_max: int = 8
    spec: str = "u64"


@dataclass(frozen=True)
class U8:
    """A number from 0 to 255 in one byte."""

    bytes_max: int = 1
    spec: str = "u8"


@dataclass(frozen=True)
class I64:
    """A signed integer of 8 bytes, negative numbers first."""

    bytes_max: int = 8
    spec: str = "i64"


@dataclass(frozen=True)
class Fixed:
    """Exactly ``bytes_max`` bytes, such as a digest."""

    bytes_max: int

    @property
    def spec(self) -> str:
        return f"fixed({self.bytes_max})"


@dataclass(frozen=True)
class Text:
    """UTF-8 text of a bounded length, such as a Matrix identifier (at most 255 bytes). A NUL counts as two bytes."""

    text_bytes_max: int = 255

    @property
    def bytes_max(self) -> int:
        return self.text_bytes_max + len(_TERMINATOR)

    @property
    def spec(self) -> str:
        return f"text({self.text_bytes_max})"


KeyPart = U64 | U8 | I64 | Fixed | Text
K = TypeVar("K", bound=tuple[Any, ...])
V = TypeVar("V")


def encode_text(value: str, bytes_max: int) -> bytes:
    """One terminated text part. Raises ``KeyTooLong`` where the text is longer than its column.

    Lone surrogates pass, so that a look-up of text no row can hold finds nothing.
    """
    raw = value.encode("utf-8", "surrogatepass")
    if b"\x00" in raw:
        raw = raw.replace(b"\x00", b"\x00\xff")
    if len(raw) > bytes_max:
        raise KeyTooLong(f"key text of {len(raw)} bytes exceeds {bytes_max}")
    return raw + _TERMINATOR


def decode_text(raw: bytes, start: int) -> tuple[str, int]:
    """The text part that starts at ``start`` and the offset behind it."""
    end = raw.find(_TERMINATOR, start)
    if end < 0:
        raise CorruptValue(f"unterminated text part at byte {start} of {raw!r}")
    text = raw[start:end]
    if b"\x00" in text:
        text = text.replace(b"\x00\xff", b"\x00")
    return text.decode("utf-8", "surrogatepass"), end + len(_TERMINATOR)


def _encode_fixed(value: bytes, width: int) -> bytes:
    if len(value) != width:
        raise ValueError(f"{len(value)} bytes in a key part of {width}")
    return value


def _encode_expression(part: KeyPart, name: str) -> str:
    match part:
        case U64():
            return f'{name}.to_bytes(8, "big")'
        case U8():
            return f'{name}.to_bytes(1, "big")'
        case I64():
            return f'({name} + {_I64_BIAS}).to_bytes(8, "big")'
        case Fixed(width):
            return f"_fixed({name}, {width})"
        case Text(bytes_max):
            return f"_text({name}, {bytes_max})"


def _decode_lines(part: KeyPart, name: str) -> list[str]:
    match part:
        case U64() | U8() | I64():
            bias = f" - {_I64_BIAS}" if isinstance(part, I64) else ""
            width = part.bytes_max
            return [f'{name} = _int(raw[at:at + {width}], "big"){bias}', f"at += {width}"]
        case Fixed(width):
            return [f"{name} = raw[at:at + {width}]", f"at += {width}"]
        case Text():
            return [f"{name}, at = _decode_text(raw, at)"]


def _compile(source: str, **extra: Any) -> Any:
    names: dict[str, Any] = {
        "_text": encode_text,
        "_fixed": _encode_fixed,
        "_decode_text": decode_text,
        "_int": int.from_bytes,
        # A NamedTuple without the detour over its own constructor, which takes longer than the decoding.
        "_new": tuple.__new__,
        "_Corrupt": CorruptValue,
        **extra,
    }
    exec(source, names)
    return names["generated"]


@cache
def _generate_encode(parts: tuple[KeyPart, ...]) -> Callable[[Any], bytes]:
    """A function from a tuple of leading fields (all of them, or a prefix) to bytes."""
    names = [f"v{i}" for i in range(len(parts))]
    body = " + ".join(_encode_expression(part, name) for part, name in zip(parts, names, strict=True)) or 'b""'
    unpack = f" {', '.join(names)}, = key\n" if names else ""
    encode: Callable[[Any], bytes] = _compile(f"def generated(key):\n{unpack} return {body}\n")
    return encode


def _generate_decode(type_: Callable[..., Any], parts: tuple[KeyPart, ...]) -> Callable[[bytes], Any]:
    width = sum(part.bytes_max for part in parts)
    complaint = "raise _Corrupt(f'key of {len(raw)} bytes where {at} were expected: {raw!r}')"
    if all(isinstance(part, U64 | U8 | I64) for part in parts):
        # Numbers alone, the most frequent kind of key: ``struct`` takes them apart in one step.
        numbers = struct.Struct(">" + "".join("B" if isinstance(part, U8) else "Q" for part in parts))
        values = [f"v{i} - {_I64_BIAS}" if isinstance(part, I64) else f"v{i}" for i, part in enumerate(parts)]
        unpacked = "".join(f"v{i}, " for i in range(len(parts)))
        taken = f"{unpacked}= _unpack(raw); return _new(_type, ({', '.join(values)},))"
        is_plain = not any(isinstance(part, I64) for part in parts)
        lines = [f"at = {width}", f"if len(raw) != at: {complaint}"]
        lines.append("return _new(_type, _unpack(raw))" if is_plain else taken)
        extra: dict[str, Any] = {"_unpack": numbers.unpack}
    else:
        names = [f"v{i}" for i in range(len(parts))]
        lines = [
            "at = 0",
            *(line for part, name in zip(parts, names, strict=True) for line in _decode_lines(part, name)),
            f"if at != len(raw): {complaint}",
            f"return _new(_type, ({', '.join(names)},))",
        ]
        extra = {}
    decode: Callable[[bytes], Any] = _compile("\n ".join(["def generated(raw):", *lines]), _type=type_, **extra)
    return decode


@dataclass(frozen=True, eq=False)
class Key(Generic[K]):
    """A composite key: a NamedTuple and one codec for each of its fields."""

    type: Callable[..., K]
    parts: tuple[KeyPart, ...]
    encode: Callable[[K], bytes] = field(init=False, repr=False)
    decode: Callable[[bytes], K] = field(init=False, repr=False)
    prefixes: tuple[Callable[[Any], bytes], ...] = field(init=False, repr=False)
    """By the number of leading fields: bytes shared by every key that starts with their values."""

    def __post_init__(self) -> None:
        fields: tuple[str, ...] = getattr(self.type, "_fields", ())
        assert len(fields) == len(self.parts), f"{self.type}: {len(fields)} fields, {len(self.parts)} codecs"
        object.__setattr__(self, "encode", _generate_encode(self.parts))
        object.__setattr__(self, "decode", _generate_decode(self.type, self.parts))
        prefixes = tuple(_generate_encode(self.parts[:width]) for width in range(len(self.parts) + 1))
        object.__setattr__(self, "prefixes", prefixes)

    @property
    def bytes_max(self) -> int:
        return sum(part.bytes_max for part in self.parts)

    @property
    def spec(self) -> str:
        fields = getattr(self.type, "_fields", ())
        return ", ".join(f"{name}: {part.spec}" for name, part in zip(fields, self.parts, strict=True))

    def prefix(self, leading: tuple[Any, ...]) -> bytes:
        """Bytes shared by every key that starts with these field values."""
        return self.prefixes[len(leading)](leading)


@dataclass(frozen=True, eq=False)
class Value(Generic[V]):
    """How one tree's values become bytes. ``spec`` is compared with the stored one at open."""

    spec: str
    encode: Callable[[V], bytes]
    decode: Callable[[bytes], V]
    """Raises ``CorruptValue`` for bytes that ``encode`` cannot have made."""
    shape: str = ""
    """The fields of a record with their types, for people to read."""


def _encode_u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _decode_u64(raw: bytes) -> int:
    if len(raw) != 8:
        raise CorruptValue(f"{len(raw)} bytes where a number has 8")
    return int.from_bytes(raw, "big")


def _decode_nothing(raw: bytes) -> None:
    if raw:
        raise CorruptValue(f"{len(raw)} bytes where a row has none")


def _decode_text_value(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise CorruptValue(f"{len(raw)} bytes that are not UTF-8") from error


def _decode_json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise CorruptValue(f"{len(raw)} bytes that are not JSON") from error


RAW: Value[bytes] = Value("raw", bytes, bytes)
COUNT: Value[int] = Value("u64", _encode_u64, _decode_u64)
NOTHING: Value[None] = Value("nothing", lambda _: b"", _decode_nothing)
TEXT: Value[str] = Value("text", str.encode, _decode_text_value)
"""Raises ``UnicodeEncodeError`` for lone surrogates, as a record does: JSON that we accept has none."""
JSON: Value[Any] = Value("json", orjson.dumps, _decode_json)


def record(type_: Callable[..., V]) -> Value[V]:
    """A NamedTuple as a msgpack array. Fields added at the end with defaults read as those defaults from old rows.

    A field declared as a ``tuple[...]`` reads back as a tuple; every other sequence, nested ones too, as a list.
    """
    fields: tuple[str, ...] = getattr(type_, "_fields", ())
    defaults: dict[str, Any] = getattr(type_, "_field_defaults", {})
    annotations: dict[str, Any] = getattr(type_, "__annotations__", {})
    types = [getattr(annotations[name], "__forward_arg__", str(annotations[name])) for name in fields]
    tuples = [place for place, type_name in enumerate(types) if type_name.startswith("tuple[")]
    packb, unpackb = msgpack.packb, msgpack.unpackb

    def encode(value: Any) -> bytes:
        packed: bytes = packb(tuple(value))
        return packed

    def decode(raw: bytes) -> V:
        try:
            values = unpackb(raw, strict_map_key=False)
            for place in tuples:
                values[place : place + 1] = map(tuple, values[place : place + 1])
            return type_(*values)
        except (ValueError, TypeError) as error:
            raise CorruptValue(f"{len(raw)} bytes that are no {type_.__name__}: {error}") from error

    spec = f"record({', '.join(name + '=' * (name in defaults) for name in fields)})"
    shape = ", ".join(f"{name}: {type_name}" for name, type_name in zip(fields, types, strict=True))
    return Value(spec, encode, decode, shape)


def may_read(stored: str, spec: str) -> bool:
    """Can rows of a codec with spec ``stored`` be read by one with ``spec``? Records may have grown at their end."""
    if stored == spec:
        return True
    if not (stored.startswith("record(") and spec.startswith("record(")):
        return False
    old, new = (text[len("record(") : -1].split(", ") for text in (stored, spec))
    kept = all(after in (before, before + "=") for before, after in zip(old, new, strict=False))
    return kept and len(new) >= len(old) and all(field.endswith("=") for field in new[len(old) :])
