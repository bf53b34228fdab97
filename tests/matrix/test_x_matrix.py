"""The X-Matrix header: its grammar, and what its signature covers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.ids import KeyId, Malformed, ServerName
from conduit_py.matrix.signing import InvalidSignature, SigningKey, VerifyKey
from conduit_py.matrix.x_matrix import XMatrix, build_x_matrix, is_x_matrix, parse_x_matrix, verify_request

KEY = SigningKey.from_seed(KeyId("ed25519:1"), bytes(range(32)))
ONE, TWO = ServerName("one.test"), ServerName("two.test:8448")
PARSED = XMatrix(ONE, "two.test", KeyId("ed25519:1"), "AB/+C")


@pytest.mark.parametrize(
    "header",
    [
        'X-Matrix origin="one.test",destination="two.test",key="ed25519:1",sig="AB/+C"',
        'x-matrix   sig="AB/+C",key=ed25519:1,destination=two.test,origin=one.test',
        'X-MATRIX ORIGIN="one.test" \t,\tDestination="two.test" , KEY="ed25519:1",Sig="AB/+C"',
        'X-Matrix origin="one.test",destination="two.test",key="ed25519:1",sig="AB/+C",other="a, b=\\"c\\"",more=1',
        'X-Matrix origin="one\\.test",destination="t\\wo.test",key="ed25519:1",sig="AB\\/+C"',
        'X-Matrix origin = "one.test",destination= "two.test",key ="ed25519:1",signature="AB/+C"',
        'X-Matrix origin="one.test",,destination="two.test", ,key="ed25519:1",sig="AB/+C",',
    ],
)
def test_header_is_read_however_it_is_written(header: str) -> None:
    assert is_x_matrix(header)
    assert parse_x_matrix(header) == PARSED


def test_destination_may_be_missing() -> None:
    assert parse_x_matrix('X-Matrix origin="one.test",key="ed25519:1",sig="A"').destination is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "X-Matrix",
        "X-Matrix ",
        'X-Matrix,origin="one.test",key="ed25519:1",sig="A"',
        'Bearer origin="one.test",key="ed25519:1",sig="A"',
        'X-Matrix origin="one.test" key="ed25519:1",sig="A"',
        'X-Matrix origin="one.test",key="ed25519:1"',
        'X-Matrix key="ed25519:1",sig="A"',
        'X-Matrix origin="one.test",sig="A"',
        'X-Matrix origin="one.test",origin="one.test",key="ed25519:1",sig="A"',
        'X-Matrix origin="one.test",ORIGIN="two.test",key="ed25519:1",sig="A"',
        'X-Matrix origin="one.test,key="ed25519:1",sig="A"',
        'X-Matrix origin="one.test",key="ed25519:1",sig=A/B',
        'X-Matrix origin="",key="ed25519:1",sig="A"',
        'X-Matrix origin="a/b",key="ed25519:1",sig="A"',
        'X-Matrix origin="one.test",key="rsa:1",sig="A"',
        'X-Matrix origin="one.test",key="ed25519:1",sig="A" trailing',
        'X-Matrix origin=,key="ed25519:1",sig="A"',
    ],
)
def test_what_the_grammar_does_not_allow_is_malformed(header: str) -> None:
    with pytest.raises(Malformed):
        parse_x_matrix(header)


@given(st.text())
def test_any_header_is_read_or_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        parse_x_matrix("X-Matrix " + text)


def build(content: dict[str, Any] | None = None) -> XMatrix:
    body = None if content is None else encode_canonical_json(content, strict=True)
    header = build_x_matrix(method="PUT", uri="/x?y=%20", origin=ONE, destination=TWO, body=body, signing_key=KEY)
    return parse_x_matrix(header)


def verify(header: XMatrix, **changes: Any) -> None:
    request: dict[str, Any] = {"method": "PUT", "uri": "/x?y=%20", "destination": TWO, "body": None}
    key = VerifyKey(KEY.key_id, KEY.public_key, 0)
    verify_request(header, **{**request, "key": key, **changes})


def test_header_that_we_build_is_as_older_servers_want_it() -> None:
    header = build_x_matrix(method="GET", uri="/", origin=ONE, destination=TWO, body=None, signing_key=KEY)
    assert header.startswith('X-Matrix origin="one.test",destination="two.test:8448",key="ed25519:1",sig="')
    assert " " not in header.partition(" ")[2]
    assert "\\" not in header


def test_signature_is_the_one_of_the_signing_algorithm() -> None:
    """The vector is the spec's algorithm done by hand: canonical JSON of the request, signed."""
    signed = b'{"content":{"a":1},"destination":"two.test:8448","method":"PUT","origin":"one.test","uri":"/x?y=%20"}'
    assert build({"a": 1}).signature == KEY.sign(signed)


def test_request_that_was_signed_is_verified() -> None:
    verify(build())
    verify(build({"a": 1}), body=b'{"a":1}')
    verify(build({}), body=b"{}")


def test_destination_is_signed_also_where_the_header_does_not_name_it() -> None:
    verify(replace(build(), destination=None))
    signature = KEY.sign(b'{"method":"PUT","origin":"one.test","uri":"/x?y=%20"}')
    for destination in (None, TWO):
        # It would be good for every server.
        with pytest.raises(InvalidSignature):
            verify(XMatrix(ONE, destination, KEY.key_id, signature))


@pytest.mark.parametrize(
    "change",
    [
        {"method": "POST"},
        {"uri": "/x?y= "},
        {"uri": "/x"},
        {"destination": ONE},
        {"body": b"{}"},
        {"key": VerifyKey(KEY.key_id, bytes(32), 0)},
    ],
    ids=str,
)
def test_any_change_of_the_request_breaks_the_signature(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidSignature):
        verify(build(), **change)


def test_content_that_differs_breaks_the_signature() -> None:
    for body in (None, b"{}", b'{"a":2}', b'{"a":1,"b":1}', b'{"a": 1}'):
        with pytest.raises(InvalidSignature):
            verify(build({"a": 1}), body=body)
