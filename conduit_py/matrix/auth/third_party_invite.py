"""Keys and signatures of an invitation to somebody who was known by an email address or a phone number.

Spec: client-server-api/#mroomthird_party_invite, appendices/#checking-for-a-signature
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any, Final

from nacl.bindings import crypto_sign_BYTES, crypto_sign_open, crypto_sign_PUBLICKEYBYTES
from nacl.exceptions import BadSignatureError

from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.ids import Malformed

VERIFICATIONS_MAX: Final = 256
"""Pairs of a key and a signature that are tried. An identity server makes one signature and the invitation names two
keys; one event has room for enough of both to keep a server busy for a minute."""


def public_key_of(content: Mapping[str, Any]) -> list[bytes]:
    """The single key in ``public_key``."""
    return _decoded([content.get("public_key")], crypto_sign_PUBLICKEYBYTES)


def public_keys_of(content: Mapping[str, Any]) -> list[bytes]:
    """The keys in ``public_keys``."""
    entries = content.get("public_keys")
    if not isinstance(entries, list | tuple):
        return []
    return _decoded(
        [entry.get("public_key") for entry in entries if isinstance(entry, Mapping)], crypto_sign_PUBLICKEYBYTES
    )


def is_signed_with(public_keys: Sequence[bytes], signed: Mapping[str, Any], *, strict: bool) -> bool:
    """Whether any ed25519 signature in ``signed``, of whatever server, was made with any of the keys."""
    signatures = _decoded(list(_ed25519_signatures(signed)), crypto_sign_BYTES)
    without_signatures = {key: value for key, value in signed.items() if key not in ("signatures", "unsigned")}
    try:
        message = encode_canonical_json(without_signatures, strict=strict)
    except Malformed:
        return False
    pairs = islice(product(public_keys, signatures), VERIFICATIONS_MAX)
    return any(_verifies(message, signature, public_key) for public_key, signature in pairs)


def _ed25519_signatures(signed: Mapping[str, Any]) -> Iterator[object]:
    signatures = signed.get("signatures")
    if not isinstance(signatures, Mapping):
        return
    for of_server in signatures.values():
        if isinstance(of_server, Mapping):
            yield from (value for key_id, value in of_server.items() if key_id.startswith("ed25519:"))


def _verifies(message: bytes, signature: bytes, public_key: bytes) -> bool:
    try:
        crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True


def _decoded(values: Sequence[object], size: int) -> list[bytes]:
    """Those values that are unpadded Base64, in the standard or the URL-safe alphabet, of ``size`` bytes."""
    decoded = (_decode(value) for value in values if isinstance(value, str))
    return list(dict.fromkeys(value for value in decoded if value is not None and len(value) == size))


def _decode(text: str) -> bytes | None:
    standard = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
