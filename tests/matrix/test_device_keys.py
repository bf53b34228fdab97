"""The form of keys, and who must have signed them."""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.matrix.device_keys import (
    check_cross_signing_key,
    check_device_keys,
    check_one_time_key,
    is_same_key,
    split_key_name,
    with_signature,
)
from conduit_py.matrix.hashes import encode_base64
from conduit_py.matrix.ids import KeyId, Malformed
from conduit_py.matrix.signing import SigningKey, sign_json

ALICE, PHONE = "@alice:one.test", "PHONE"
KEY = SigningKey.from_seed(KeyId(f"ed25519:{PHONE}"), b"k" * 32)
OTHER = SigningKey.from_seed(KeyId(f"ed25519:{PHONE}"), b"o" * 32)
DEVICE_KEYS: dict[str, Any] = {
    "user_id": ALICE,
    "device_id": PHONE,
    "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
    "keys": {f"ed25519:{PHONE}": encode_base64(KEY.public_key)},
}


def signed(json: dict[str, Any], key: SigningKey = KEY) -> dict[str, Any]:
    return sign_json(json, entity=ALICE, signing_key=key)


@pytest.mark.parametrize("json", [DEVICE_KEYS, signed(DEVICE_KEYS), {"user_id": ALICE, "device_id": PHONE}])
def test_device_keys_of_their_device_pass(json: dict[str, Any]) -> None:
    check_device_keys(json, user_id=ALICE, device_id=PHONE)


@pytest.mark.parametrize("fields", [{"user_id": "@bob:one.test"}, {"algorithms": [1]}, {"keys": {"a:b": 1}}])
def test_device_keys_of_another_form_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        check_device_keys(DEVICE_KEYS | fields, user_id=ALICE, device_id=PHONE)


def test_a_one_time_key_is_an_object_if_its_algorithm_says_so() -> None:
    check_one_time_key("curve25519:A", "key")
    check_one_time_key("signed_curve25519:A", signed({"key": "x"}))
    for key in ("key", {}, {"key": 1}):
        with pytest.raises(Malformed):
            check_one_time_key("signed_curve25519:A", key)


@pytest.mark.parametrize("name", ["", "a", "a:", ":b"])
def test_a_key_name_has_two_parts(name: str) -> None:
    with pytest.raises(Malformed):
        split_key_name(name)
    assert split_key_name("a:b:c") == ("a", "b:c")


def test_a_cross_signing_key_is_named_after_itself() -> None:
    public = encode_base64(KEY.public_key)
    key = {"user_id": ALICE, "usage": ["master"], "keys": {f"ed25519:{public}": public}}
    assert check_cross_signing_key(key, user_id=ALICE, usage="master") == public
    wrongs: tuple[dict[str, Any], ...] = (
        {"keys": {"ed25519:A": public}},
        {"usage": []},
        {"user_id": "@bob:one.test"},
        {"keys": []},
    )
    for wrong in wrongs:
        with pytest.raises(Malformed):
            check_cross_signing_key(key | wrong, user_id=ALICE, usage="master")


def test_signatures_make_no_other_key() -> None:
    one = with_signature(DEVICE_KEYS, user_id=ALICE, key_id="ed25519:A", signature="x")
    two = with_signature(one, user_id=ALICE, key_id="ed25519:B", signature="y")
    assert two["signatures"] == {ALICE: {"ed25519:A": "x", "ed25519:B": "y"}}
    assert is_same_key(one, two)
    assert not is_same_key(one, two | {"device_id": "OTHER"})
