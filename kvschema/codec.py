"""Order-preserving, self-delimiting key codecs and plain value codecs.

Every key codec keeps two laws, checked for each tree by tests/kvschema/test_codec_laws.py:

    decode(encode(k)) == k                       (round trip, so encode is injective)
    encode(a) < encode(b)  iff  a < b            (byte order is key order)

Integers are fixed-width big-endian. A text part ends in 0x00 and holds no other 0x00, so no part can run into the next
one; there is no separator byte to forget. The functions of a key are generated once at import from its parts: a key is
encoded several times in every request, and interpreting the parts per call costs three times as much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgpack
import orjson

from kvschema.errors import CorruptValue

KEY_BYTES_MAX = 511
"""LMDB's compiled-in limit; the engine checks it at open."""

_I64_BIAS = 1 << 63


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
    """UTF-8 text of a bounded length, such as a Matrix identifier (at most 255 bytes)."""

    text_bytes_max: int = 255

    @property
    def bytes_max(self) -> int:
        return self.text_bytes_max + 1

    @property
    def spec(self) -> str:
        return f"text({self.text_bytes_max})"


KeyPart = U64 | U8 | I64 | Fixed | Text
K = TypeVar("K", bound=tuple[Any, ...])
V = TypeVar("V")


def encode_text(value: str, bytes_max: int) -> bytes:
    """One terminated text part. Raises ``ValueError`` where the text is longer than its column."""
    raw = value.encode("utf-8", "surrogatepass")
    if b"\x00" in raw or b"\x01" in raw:
        raw = raw.replace(b"\x01", b"\x01\x02").replace(b"\x00", b"\x01\x01")
    if len(raw) > bytes_max:
        raise ValueError(f"key text of {len(raw)} bytes exceeds {bytes_max}")
    return raw + b"\x00"


def decode_text(raw: bytes, start: int) -> tuple[str, int]:
    """The text part that starts at ``start`` and the offset behind it."""
    end = raw.find(b"\x00", start)
    if end < 0:
        raise CorruptValue(f"unterminated text part at byte {start} of {raw!r}")
    escaped = raw[start:end]
    if b"\x01" in escaped:
        escaped = escaped.replace(b"\x01\x01", b"\x00").replace(b"\x01\x02", b"\x01")
    return escaped.decode("utf-8", "surrogatepass"), end + 1


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


def _struct_format(parts: tuple[KeyPart, ...]) -> str | None:
    """A ``struct`` format where every part is a plain unsigned number, the common and fastest case."""
    if all(isinstance(part, U64 | U8) for part in parts):
        return ">" + "".join("Q" if isinstance(part, U64) else "B" for part in parts)
    return None


def _compile(source: str, extra: dict[str, Any]) -> Any:
    names: dict[str, Any] = {
        "_text": encode_text,
        "_fixed": _encode_fixed,
        "_decode_text": decode_text,
        "_int": int.from_bytes,
        "_Corrupt": CorruptValue,
        **extra,
    }
    exec(source, names)
    return names["generated"]


def _generate_encode(parts: tuple[KeyPart, ...]) -> Callable[[Any], bytes]:
    """A function from a tuple of leading fields (all of them, or a prefix) to bytes."""
    names = [f"v{i}" for i in range(len(parts))]
    body = " + ".join(_encode_expression(part, name) for part, name in zip(parts, names, strict=True)) or 'b""'
    unpack = f" {', '.join(names)}, = key\n" if names else ""
    encode: Callable[[Any], bytes] = _compile(f"def generated(key):\n{unpack} return {body}\n", {})
    return encode


def _generate_decode(type_: Callable[..., Any], parts: tuple[KeyPart, ...]) -> Callable[[bytes], Any]:
    names = [f"v{i}" for i in range(len(parts))]
    lines = [line for part, name in zip(parts, names, strict=True) for line in _decode_lines(part, name)]
    source = "\n ".join(
        [
            "def generated(raw):",
            "at = 0",
            *lines,
            "if at != len(raw): raise _Corrupt(f'key of {len(raw)} bytes where {at} were expected: {raw!r}')",
            f"return _type({', '.join(names)})",
        ]
    )
    decode: Callable[[bytes], Any] = _compile(source, {"_type": type_})
    return decode


@dataclass(frozen=True, eq=False)
class Key(Generic[K]):
    """A composite key: a NamedTuple and one codec for each of its fields."""

    type: Callable[..., K]
    parts: tuple[KeyPart, ...]
    encode: Callable[[K], bytes] = field(init=False, repr=False)
    decode: Callable[[bytes], K] = field(init=False, repr=False)
    _prefixes: tuple[Callable[[Any], bytes], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        fields: tuple[str, ...] = getattr(self.type, "_fields", ())
        assert len(fields) == len(self.parts), f"{self.type}: {len(fields)} fields, {len(self.parts)} codecs"
        object.__setattr__(self, "encode", _generate_encode(self.parts))
        object.__setattr__(self, "decode", _generate_decode(self.type, self.parts))
        prefixes = tuple(_generate_encode(self.parts[:width]) for width in range(len(self.parts) + 1))
        object.__setattr__(self, "_prefixes", prefixes)

    @property
    def bytes_max(self) -> int:
        return sum(part.bytes_max for part in self.parts)

    @property
    def spec(self) -> str:
        fields = getattr(self.type, "_fields", ())
        return ", ".join(f"{name}: {part.spec}" for name, part in zip(fields, self.parts, strict=True))

    def prefix(self, leading: tuple[Any, ...]) -> bytes:
        """Bytes shared by every key that starts with these field values."""
        return self._prefixes[len(leading)](leading)


@dataclass(frozen=True, eq=False)
class Value(Generic[V]):
    """How one tree's values become bytes. ``spec`` is compared with the stored one at open."""

    spec: str
    encode: Callable[[V], bytes]
    decode: Callable[[bytes], V]


def _encode_u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _decode_u64(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _decode_nothing(raw: bytes) -> None:
    if raw:
        raise CorruptValue(f"{len(raw)} bytes where a row has none")


RAW: Value[bytes] = Value("raw", bytes, bytes)
COUNT: Value[int] = Value("u64", _encode_u64, _decode_u64)
NOTHING: Value[None] = Value("nothing", lambda _: b"", _decode_nothing)
TEXT: Value[str] = Value("text", str.encode, bytes.decode)
JSON: Value[Any] = Value("json", orjson.dumps, orjson.loads)


def record(type_: Callable[..., V]) -> Value[V]:
    """A NamedTuple as a msgpack array. Fields added at the end with defaults read as those defaults from old rows."""
    fields: tuple[str, ...] = getattr(type_, "_fields", ())
    packb, unpackb = msgpack.packb, msgpack.unpackb

    def encode(value: Any) -> bytes:
        packed: bytes = packb(tuple(value))
        return packed

    def decode(raw: bytes) -> V:
        return type_(*unpackb(raw, use_list=False, strict_map_key=False))

    return Value(f"record({', '.join(fields)})", encode, decode)


def key_value(key: Key[K]) -> Value[K]:
    """The key of another tree as a value."""
    return Value(f"key({key.spec})", key.encode, key.decode)
