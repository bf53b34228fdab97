"""Keys and signatures of an invitation to somebody who was known by an email address or a phone number.

Spec: client-server-api/#mroomthird_party_invite, appendices/#checking-for-a-signature
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice, product
from typing import Any, Final

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.hashes import decode_base64
from conduit_py.matrix.ids import Malformed
from conduit_py.matrix.signing import KEY_BYTES, SIGNATURE_BYTES, ed25519_signatures

KEYS_MAX: Final = 10
"""Keys of an invitation of which it is found out whether they still count."""
VERIFICATIONS_MAX: Final = 256
"""Pairs of a key and a signature that are tried. An identity server makes one signature and the invitation names two
keys; two events have room for enough of both to keep a server busy for minutes."""


def public_key_of(content: Mapping[str, Any]) -> list[bytes]:
    """The single key in ``public_key``."""
    return _decoded([content.get("public_key")], KEY_BYTES)


def public_keys_of(content: Mapping[str, Any]) -> list[bytes]:
    """The keys in ``public_keys``."""
    entries = content.get("public_keys")
    if not isinstance(entries, list | tuple):
        return []
    return _decoded((entry.get("public_key") for entry in entries if isinstance(entry, Mapping)), KEY_BYTES)


def find_signing_keys(content: Mapping[str, Any], signed: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """The keys of an invitation that signed something, each with where to ask whether it still counts; None: it does.

    Spec: client-server-api/#mroomthird_party_invite
    """
    entries = content.get("public_keys")
    listed = entries if isinstance(entries, list | tuple) else ()
    named = [content, *(entry for entry in listed if isinstance(entry, Mapping))]
    found: dict[str, str | None] = {}
    for entry in named[:KEYS_MAX]:
        public_key, url = entry.get("public_key"), entry.get("key_validity_url")
        if isinstance(public_key, str) and is_signed_with_any(_decoded([public_key], KEY_BYTES), signed):
            found.setdefault(public_key, url if isinstance(url, str) else None)
    return list(found.items())


def is_signed_with_any(public_keys: Sequence[bytes], signed: Mapping[str, Any]) -> bool:
    """Whether any ed25519 signature in ``signed``, of whatever server, was made with any of the keys."""
    entities = signed.get("signatures")
    if not isinstance(entities, Mapping):
        return False
    values = (value for entity in entities for _, value in ed25519_signatures(signed, entity))
    signatures = _decoded(values, SIGNATURE_BYTES)
    without_signatures = {key: value for key, value in signed.items() if key not in ("signatures", "unsigned")}
    try:
        message = encode_canonical_json(without_signatures, strict=False)
    except Malformed:
        return False
    pairs = islice(product(public_keys, signatures), VERIFICATIONS_MAX)
    return any(_verifies(message, signature, public_key) for public_key, signature in pairs)


def _verifies(message: bytes, signature: bytes, public_key: bytes) -> bool:
    try:
        crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True


def _decoded(values: Iterable[object], size: int) -> list[bytes]:
    """Those values that are Base64 of ``size`` bytes, each once."""
    decoded = (_decode(value) for value in values if isinstance(value, str))
    return list(dict.fromkeys(value for value in decoded if len(value) == size))


def _decode(text: str) -> bytes:
    try:
        return decode_base64(text)
    except Malformed:
        return b""
