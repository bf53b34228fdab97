"""The keys of devices and users: their form, and who must have signed them.

Each check raises :class:`Malformed` for a wrong form and :class:`InvalidSignature` for a signature that is missing or
wrong. By what a device signed only other devices know it: servers pass it on, and who reads it trusts none of them.

Spec: client-server-api/#key-algorithms, client-server-api/#cross-signing
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from conduit_py.matrix.ids import Malformed
from conduit_py.matrix.signing import decode_public_key, verify_json_signature

ED25519: Final = "ed25519"
USAGES: Final = ("master", "self_signing", "user_signing")

_UNSIGNED: Final = frozenset({"signatures", "unsigned"})

Json = Mapping[str, Any]


def check_device_keys(keys: Json, *, user_id: str, device_id: str) -> None:
    """The form of a device's identity keys, of what is given of them. Spec: client-server-api/#device-keys"""
    if keys.get("user_id") != user_id or keys.get("device_id") != device_id:
        raise Malformed("device_keys must be of the user and the device that upload them")
    algorithms, signatures = keys.get("algorithms", []), keys.get("signatures", {})
    if not isinstance(algorithms, list) or not all(isinstance(name, str) for name in algorithms):
        raise Malformed("device_keys.algorithms must be a list of strings")
    if not is_object_of_strings(keys.get("keys", {})):
        raise Malformed("device_keys.keys must be an object of strings")
    if not are_signatures(signatures):
        raise Malformed("device_keys.signatures must be an object of objects of strings")


def get_signing_key(device_keys: Json, device_id: str) -> bytes:
    """The ed25519 key among a device's identity keys. Raises ``Malformed`` if there is none."""
    return decode_public_key(device_keys.get("keys", {}).get(f"{ED25519}:{device_id}"))


def split_key_name(name: str) -> tuple[str, str]:
    """Algorithm and id of a one-time key named ``algorithm:id``."""
    algorithm, colon, key_id = name.partition(":")
    if not (algorithm and colon and key_id):
        raise Malformed("a key must be named <algorithm>:<key id>")
    return algorithm, key_id


def check_one_time_key(name: str, key: Any) -> None:
    """The form of a one-time or fallback key: a string, or an object where the algorithm has them signed."""
    if isinstance(key, str) and not name.startswith("signed_"):
        return
    if not isinstance(key, dict) or not isinstance(key.get("key"), str):
        raise Malformed(f"{name} must be an object with a string key")


def check_cross_signing_key(key: Json, *, user_id: str, usage: str) -> str:
    """The form of a cross-signing key. Returns its public half in Base64."""
    if key.get("user_id") != user_id:
        raise Malformed(f"the {usage} key must be of the user who uploads it")
    if not isinstance(key.get("usage"), list) or usage not in key["usage"]:
        raise Malformed(f"the usage of the {usage} key must name {usage}")
    keys = key.get("keys")
    if not isinstance(keys, dict) or len(keys) != 1:
        raise Malformed(f"the {usage} key must have exactly one public key")
    ((name, public),) = keys.items()
    decode_public_key(public)
    if name != f"{ED25519}:{public}":
        raise Malformed(f"the {usage} key must be named ed25519:<public key>")
    return str(public)


def public_key_of(cross_signing_key: Json) -> str:
    """The public half of a cross-signing key whose form was checked."""
    return str(next(iter(cross_signing_key["keys"].values())))


def check_signed_by_key(json: Json, *, user_id: str, public_key: str) -> None:
    """One of the user's cross-signing keys, given in Base64, must have signed ``json``."""
    key_id = f"{ED25519}:{public_key}"
    verify_json_signature(json, entity=user_id, key_id=key_id, public_key=decode_public_key(public_key))


def is_same_key(one: Json, other: Json) -> bool:
    """Do both say the same, whoever signed it?"""
    return _without_signatures(one) == _without_signatures(other)


def with_signature(json: dict[str, Any], *, user_id: str, key_id: str, signature: str) -> dict[str, Any]:
    """A copy with one signature more."""
    signatures = dict(json.get("signatures") or {})
    signatures[user_id] = {**signatures.get(user_id, {}), key_id: signature}
    return {**json, "signatures": signatures}


def _without_signatures(json: Json) -> dict[str, Any]:
    return {name: value for name, value in json.items() if name not in _UNSIGNED}


def is_object_of_strings(value: Any) -> bool:
    """Are all its members strings, whatever they are called?"""
    return isinstance(value, Mapping) and all(isinstance(entry, str) for entry in value.values())


def are_signatures(value: Any) -> bool:
    """The form alone: signatures by key id by who signed."""
    return isinstance(value, Mapping) and all(map(is_object_of_strings, value.values()))
