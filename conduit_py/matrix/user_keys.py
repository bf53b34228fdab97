"""Keys of users as other servers tell them: what of an answer can be used.

An answer may be about many users and devices. What has a wrong form is left out, and so is a self-signing key that the
master key has not signed; what a device says of itself is for clients to check, as they must anyway.

Spec: server-server-api/#post_matrixfederationv1userkeysquery,
server-server-api/#get_matrixfederationv1userdevicesuserid
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from conduit_py.matrix.canonical_json import INT_MAX, encode_canonical_json
from conduit_py.matrix.device_keys import (
    are_signatures,
    check_cross_signing_key,
    check_signed_by_key,
    is_object_of_strings,
    public_key_of,
)
from conduit_py.matrix.ids import Malformed, UserId, parse_device_id
from conduit_py.matrix.signing import InvalidSignature

DEVICE_BYTES_MAX: Final = 32 * 1024
CROSS_SIGNING_KEY_BYTES_MAX: Final = 16 * 1024
DISPLAY_NAME_CHARS_MAX: Final = 255
"""Longer ones are cut."""

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserKeys:
    """One user's keys."""

    devices: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By device id, each with its name in ``unsigned``."""
    master: dict[str, Any] | None = None
    self_signing: dict[str, Any] | None = None


def parse_queried_keys(answer: Json, user_id: UserId) -> UserKeys:
    """What an answer to ``user/keys/query`` says of one user."""
    by_device = _member(_member(answer, "device_keys"), user_id)
    devices = {
        device_id: keys
        for device_id, json in by_device.items()
        if (keys := parse_device(json, user_id, device_id, _name_of(_member(json, "unsigned")))) is not None
    }
    master, self_signing = (_member(answer, name).get(user_id) for name in ("master_keys", "self_signing_keys"))
    return _with_cross_signing(devices, user_id, master, self_signing)


def parse_user_devices(answer: Json, user_id: UserId) -> tuple[int, UserKeys]:
    """What an answer to ``user/devices`` says, and which version it is. Raises `Malformed`."""
    stream_id, entries = answer.get("stream_id"), answer.get("devices")
    if answer.get("user_id") != user_id or not isinstance(entries, list):
        raise Malformed("the answer must be the list of devices of the user")
    if type(stream_id) is not int or not 0 <= stream_id <= INT_MAX:
        raise Malformed("stream_id must be a number from 0")
    devices = dict(_scan_devices(entries, user_id))
    return stream_id, _with_cross_signing(devices, user_id, answer.get("master_key"), answer.get("self_signing_key"))


def parse_claimed_keys(answer: Json, asked: Mapping[UserId, Mapping[str, str]]) -> dict[UserId, dict[str, Any]]:
    """The keys in an answer to ``user/keys/claim``, of devices that it was asked about."""
    claimed: dict[UserId, dict[str, Any]] = {}
    for user_id, algorithms in asked.items():
        for device_id, keys in _member(_member(answer, "one_time_keys"), user_id).items():
            if device_id in algorithms and isinstance(keys, Mapping) and all(map(_is_one_time_key, keys.values())):
                claimed.setdefault(user_id, {})[device_id] = keys
    return claimed


def parse_device(json: Any, user_id: UserId, device_id: str, display_name: str | None) -> dict[str, Any] | None:
    """Identity keys of a device with its name, ``None`` where they have not the form."""
    if not isinstance(json, Mapping) or (json.get("user_id"), json.get("device_id")) != (user_id, device_id):
        return None
    algorithms, keys, signatures = json.get("algorithms"), json.get("keys"), json.get("signatures")
    if not _is_list_of_strings(algorithms) or not is_object_of_strings(keys):
        return None
    if not are_signatures(signatures):
        return None
    device = {name: value for name, value in json.items() if name != "unsigned"}
    try:
        parse_device_id(device_id)
        if len(encode_canonical_json(device, strict=True)) > DEVICE_BYTES_MAX:
            return None
    except Malformed:
        return None
    if display_name is not None:
        device["unsigned"] = {"device_display_name": display_name[:DISPLAY_NAME_CHARS_MAX]}
    return device


def _scan_devices(entries: list[Any], user_id: UserId) -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in entries:
        device_id = entry.get("device_id") if isinstance(entry, Mapping) else None
        if isinstance(device_id, str):
            keys = parse_device(entry.get("keys"), user_id, device_id, _name_of(entry))
            if keys is not None:
                yield device_id, keys


def _with_cross_signing(
    devices: dict[str, dict[str, Any]], user_id: UserId, master: Any, self_signing: Any
) -> UserKeys:
    if not _is_key(master, user_id, "master"):
        return UserKeys(devices=devices)
    if not _is_key(self_signing, user_id, "self_signing"):
        return UserKeys(devices=devices, master=master)
    try:
        check_signed_by_key(self_signing, user_id=user_id, public_key=public_key_of(master))
    except (Malformed, InvalidSignature):
        return UserKeys(devices=devices, master=master)
    return UserKeys(devices=devices, master=master, self_signing=self_signing)


def _is_key(key: Any, user_id: UserId, usage: str) -> bool:
    if not isinstance(key, Mapping):
        return False
    signatures = key.get("signatures", {})
    if not are_signatures(signatures):
        return False
    try:
        check_cross_signing_key(key, user_id=user_id, usage=usage)
        return len(encode_canonical_json(key, strict=True)) <= CROSS_SIGNING_KEY_BYTES_MAX
    except Malformed:
        return False


def _is_one_time_key(key: Any) -> bool:
    return isinstance(key, str) or (isinstance(key, Mapping) and isinstance(key.get("key"), str))


def _member(json: Any, name: str) -> Mapping[str, Any]:
    value = json.get(name) if isinstance(json, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _name_of(json: Json) -> str | None:
    name = json.get("device_display_name")
    return name if isinstance(name, str) else None


def _is_list_of_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)
