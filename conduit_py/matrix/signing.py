"""ed25519 signatures over JSON and over events, and which keys count for which event.

Verifying raises :class:`InvalidSignature` rather than returning a verdict, so that no caller can forget to look at it.
Time is always passed in; all timestamps are milliseconds since the epoch.

Spec: appendices/#signing-json, server-server-api/#signing-events
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import nacl.exceptions
import nacl.signing

from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.hashes import decode_base64, encode_base64, signed_bytes
from conduit_py.matrix.ids import KeyId, Malformed, ServerName, parse_key_id, parse_user_id, server_name_of
from conduit_py.matrix.room_versions import RoomVersion

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

KEY_VALID_MS_MAX: Final = 7 * 24 * 60 * 60 * 1000
"""A key counts for at most 7 days after it was fetched. Spec: rooms/v5/#signing-key-validity-period"""


class InvalidSignature(Exception):
    """A signature that must be there is missing, cannot be checked with the keys at hand, or is wrong."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A server's private key and the ID under which its public half is published."""

    key_id: KeyId
    _key: nacl.signing.SigningKey = field(repr=False)

    @classmethod
    def from_seed(cls, key_id: KeyId, seed: bytes) -> SigningKey:
        """``seed`` is 32 secret random bytes."""
        return cls(key_id, nacl.signing.SigningKey(seed))

    @property
    def seed(self) -> bytes:
        """Secret: for the store alone."""
        return bytes(self._key)

    @property
    def public_key(self) -> bytes:
        return bytes(self._key.verify_key)

    def sign(self, data: bytes) -> str:
        """The signature in unpadded Base64."""
        return encode_base64(self._key.sign(data).signature)


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A public key of a server, with the time for which it counts."""

    key_id: KeyId
    public_key: bytes
    valid_until_ts: int
    """For a current key: the lesser of what the server claims and 7 days after the key was fetched."""
    expired_ts: int | None = None
    """For one of ``old_verify_keys``: when the server stopped using it. Such a key signs events, never requests."""

    def may_sign_request(self, now_ms: int) -> bool:
        return self.expired_ts is None and now_ms <= self.valid_until_ts

    def may_sign_event(self, origin_server_ts: int, *, enforce_key_validity: bool) -> bool:
        """Spec: server-server-api/#validating-hashes-and-signatures-on-received-events,
        rooms/v5/#signing-key-validity-period
        """
        if self.expired_ts is not None:
            return origin_server_ts <= self.expired_ts
        return not enforce_key_validity or origin_server_ts <= self.valid_until_ts


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """What a server publishes about its keys, checked and with the 7 days applied."""

    server_name: ServerName
    keys: Mapping[KeyId, VerifyKey]
    """Current and old ones."""
    valid_until_ts: int


VerifyKeys = Mapping[ServerName, Mapping[KeyId, VerifyKey]]


def sign_json(json: Mapping[str, Any], *, entity: str, signing_key: SigningKey) -> dict[str, Any]:
    """A copy of ``json`` with one signature added. Raises :class:`Malformed` when it has no canonical form.

    Spec: appendices/#signing-details
    """
    return add_signature(json, entity, signing_key.key_id, signing_key.sign(_bytes_to_sign(json)))


def verify_json_signature(json: Mapping[str, Any], *, entity: str, key_id: str, public_key: bytes) -> None:
    """Raise :class:`InvalidSignature` unless ``entity`` (a server or a user) signed ``json`` with this key.

    Spec: appendices/#checking-for-a-signature
    """
    verify_signature(_bytes_to_verify(json), _signatures_of(json, entity).get(key_id), public_key, f"{entity} {key_id}")


def verify_signed_json(json: Mapping[str, Any], *, server_name: ServerName, keys: Mapping[KeyId, VerifyKey]) -> None:
    """Raise :class:`InvalidSignature` unless ``server_name`` signed ``json`` with a key among ``keys``.

    Signatures by other keys are skipped; one of a known key that is wrong is not forgiven. The caller chooses the keys
    that count at this time (:meth:`VerifyKey.may_sign_request`).
    """
    _verify_by_known_keys(_bytes_to_verify(json), json, server_name, keys)


def sign_event(
    json: Mapping[str, Any], room_version: RoomVersion, *, server_name: ServerName, signing_key: SigningKey
) -> dict[str, Any]:
    """A copy of an event that has its content hash, with this server's signature over its redacted form added.

    Spec: server-server-api/#adding-hashes-and-signatures-to-outgoing-events
    """
    return add_signature(json, server_name, signing_key.key_id, signing_key.sign(signed_bytes(json, room_version)))


def required_signers(json: Mapping[str, Any], room_version: RoomVersion) -> frozenset[ServerName]:
    """The servers that must have signed the event, whose format must have been checked.

    - The sender's server; but a third-party invite may be sent by any server, and its own signatures are checked by the
      authorisation rules.
    - Room versions 1 and 2: the server in the event ID.
    - Room version 8 and later: the server that authorised a join. The rule is about every membership event that says
      so, which is why a copy of such a content needs the signature as well.

    Spec: server-server-api/#validating-hashes-and-signatures-on-received-events, rooms/v8/#authorisation-rules rule 4.2
    """
    signers: set[ServerName] = set()
    content = json["content"]
    is_member = json["type"] == "m.room.member"
    if not (is_member and content.get("membership") == "invite" and "third_party_invite" in content):
        signers.add(server_name_of(json["sender"]))
    if room_version.event_format.event_id_server_signs:
        signers.add(server_name_of(json["event_id"]))
    if is_member and room_version.auth.restricted_join_rule:
        authorising_server = get_authorising_server(content)
        if authorising_server is not None:
            signers.add(authorising_server)
    return frozenset(signers)


def get_authorising_server(content: Mapping[str, Any]) -> ServerName | None:
    """The homeserver of the user in ``join_authorised_via_users_server``; ``None`` when there is no valid user ID.

    An event with an invalid one is for the authorisation rules to reject: nobody can have signed for it.
    """
    user_id = content.get("join_authorised_via_users_server")
    try:
        return server_name_of(parse_user_id(user_id)) if isinstance(user_id, str) else None
    except Malformed:
        return None


def verify_event_signatures(json: Mapping[str, Any], room_version: RoomVersion, keys: VerifyKeys) -> None:
    """Raise :class:`InvalidSignature` unless every required server has signed the event with a key that counts for it.

    Of each server, at least one signature must be by a key in ``keys`` that was valid at ``origin_server_ts``, and all
    of those must be right; signatures by other keys are skipped. The event's format must have been checked.

    Spec: server-server-api/#validating-hashes-and-signatures-on-received-events
    """
    signers = required_signers(json, room_version)
    if not signers:
        return
    data = signed_bytes(json, room_version)
    for server_name in signers:
        usable = {
            key_id: key
            for key_id, key in keys.get(server_name, {}).items()
            if key.may_sign_event(json["origin_server_ts"], enforce_key_validity=room_version.enforce_key_validity)
        }
        _verify_by_known_keys(data, json, server_name, usable)


def verify_event_signature(
    json: Mapping[str, Any], room_version: RoomVersion, *, entity: str, key_id: str, public_key: bytes
) -> None:
    """Raise :class:`InvalidSignature` unless ``entity`` signed the event with this key."""
    signature = _signatures_of(json, entity).get(key_id)
    verify_signature(signed_bytes(json, room_version), signature, public_key, f"{entity} {key_id}")


def ed25519_signatures(json: Mapping[str, Any], entity: str) -> Iterator[tuple[str, Any]]:
    """Key IDs and signatures of ``entity``, those of other algorithms left out: which keys are worth fetching."""
    return ((key_id, value) for key_id, value in _signatures_of(json, entity).items() if key_id.startswith("ed25519:"))


def parse_server_keys(json: Mapping[str, Any], *, fetched_ts: int) -> ServerKeys:
    """Check an answer of ``GET /_matrix/key/v2/server``, or one entry of a notary's answer.

    Keys of unknown algorithms and malformed ones are left out. Raises :class:`Malformed`, and :class:`InvalidSignature`
    unless the server has signed with one of its current keys. The caller compares ``server_name`` with whom it asked.

    Spec: server-server-api/#publishing-keys
    """
    server_name, claimed_ts = json.get("server_name"), json.get("valid_until_ts")
    if not isinstance(server_name, str) or type(claimed_ts) is not int:
        raise Malformed("server keys must have a string server_name and an integer valid_until_ts")
    valid_until_ts = min(claimed_ts, fetched_ts + KEY_VALID_MS_MAX)
    current = {
        key_id: VerifyKey(key_id, public_key, valid_until_ts)
        for key_id, public_key, _ in _published_keys(json.get("verify_keys"))
    }
    verify_signed_json(json, server_name=ServerName(server_name), keys=current)
    old = {
        key_id: VerifyKey(key_id, public_key, entry["expired_ts"], expired_ts=entry["expired_ts"])
        for key_id, public_key, entry in _published_keys(json.get("old_verify_keys", {}))
        if type(entry.get("expired_ts")) is int
    }
    return ServerKeys(ServerName(server_name), {**old, **current}, valid_until_ts)


def _published_keys(entries: Any) -> Iterator[tuple[KeyId, bytes, Mapping[str, Any]]]:
    if not isinstance(entries, Mapping):
        raise Malformed("verify_keys and old_verify_keys must be objects")
    for name, entry in entries.items():
        try:
            key_id, public_key = parse_key_id(name), decode_public_key(entry["key"])
        except (Malformed, TypeError, KeyError):
            continue
        yield key_id, public_key, entry


def decode_public_key(text: Any) -> bytes:
    """32 bytes of Base64, or :class:`Malformed`."""
    if not isinstance(text, str) or len(public_key := decode_base64(text)) != KEY_BYTES:
        raise Malformed(f"a public key must be {KEY_BYTES} bytes of Base64")
    return public_key


def _verify_by_known_keys(
    data: bytes, json: Mapping[str, Any], server_name: ServerName, keys: Mapping[KeyId, VerifyKey]
) -> None:
    known = [(keys[KeyId(key_id)], value) for key_id, value in ed25519_signatures(json, server_name) if key_id in keys]
    if not known:
        raise InvalidSignature(f"there is no signature of {server_name} by a key that is known and counts")
    for key, value in known:
        verify_signature(data, value, key.public_key, f"{server_name} {key.key_id}")


def verify_signature(data: bytes, signature_base64: Any, public_key: bytes, whose: str) -> None:
    """Raise :class:`InvalidSignature` unless this is the signature over ``data``. ``whose``: for the message."""
    try:
        signature = decode_base64(signature_base64) if isinstance(signature_base64, str) else b""
    except Malformed:
        signature = b""
    if len(signature) != SIGNATURE_BYTES:
        raise InvalidSignature(f"the signature of {whose} must be {SIGNATURE_BYTES} bytes of Base64")
    try:
        nacl.signing.VerifyKey(public_key).verify(data, signature)
    except nacl.exceptions.BadSignatureError:
        raise InvalidSignature(f"the signature of {whose} is wrong") from None


def _signatures_of(json: Mapping[str, Any], entity: str) -> Mapping[str, Any]:
    signatures = json.get("signatures")
    of_entity = signatures.get(entity) if isinstance(signatures, Mapping) else None
    return of_entity if isinstance(of_entity, Mapping) else {}


def add_signature(json: Mapping[str, Any], entity: str, key_id: KeyId, signature: str) -> dict[str, Any]:
    """A copy of ``json`` with a signature that was made already."""
    signatures = {**json.get("signatures", {})}
    signatures[entity] = {**signatures.get(entity, {}), key_id: signature}
    return {**json, "signatures": signatures}


def _bytes_to_sign(json: Mapping[str, Any]) -> bytes:
    # Lenient, because requests carry events of old room versions; strictness is a matter of the event format.
    signed = {key: value for key, value in json.items() if key not in ("signatures", "unsigned")}
    return encode_canonical_json(signed, strict=False)


def _bytes_to_verify(json: Mapping[str, Any]) -> bytes:
    try:
        return _bytes_to_sign(json)
    except Malformed as error:
        raise InvalidSignature(f"no signature can cover this: {error}") from None
