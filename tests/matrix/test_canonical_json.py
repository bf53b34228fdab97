"""Canonical JSON: the spec's examples, the reference encoder's bytes, and the limits."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import canonicaljson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conduit_py.matrix.canonical_json import JSON_DEPTH_MAX, NotJson, encode_canonical_json, parse_json
from conduit_py.matrix.ids import Malformed
from tests.matrix.events import json_values, wild_json_values

# Spec: appendices/#examples
SPEC_EXAMPLES = [
    ("{}", "{}"),
    ('{ "one": 1, "two": "Two" }', '{"one":1,"two":"Two"}'),
    ('{ "b": "2", "a": "1" }', '{"a":"1","b":"2"}'),
    ('{"b":"2","a":"1"}', '{"a":"1","b":"2"}'),
    (
        """{
            "auth": {
                "success": true,
                "mxid": "@john.doe:example.com",
                "profile": {
                    "display_name": "John Doe",
                    "three_pids": [
                        {"medium": "email", "address": "john.doe@example.org"},
                        {"medium": "msisdn", "address": "123456789"}
                    ]
                }
            }
        }""",
        (
            '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":'
            '[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},'
            '"success":true}}'
        ),
    ),
    ('{ "a": "日本語" }', '{"a":"日本語"}'),
    ('{ "本": 2, "日": 1 }', '{"日":1,"本":2}'),
    (r'{ "a": "\u65E5" }', '{"a":"日"}'),
    ('{ "a": null }', '{"a":null}'),
    ('{ "a": -0 }', '{"a":0}'),
]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(("given_json", "canonical"), SPEC_EXAMPLES)
def test_spec_example_is_encoded_as_written(given_json: str, canonical: str, strict: bool) -> None:
    assert encode_canonical_json(parse_json(given_json.encode()), strict=strict) == canonical.encode()


@given(json_values)
@example({"\uffff": 1, "\U00010000": 2, "\ue000": 3, "~": 4, "\x7f": 5, "\u2028": 6})
@example([chr(code) for code in range(0x20)])
def test_strict_encoding_is_that_of_the_reference_encoder(value: Any) -> None:
    encoded = encode_canonical_json(value, strict=True)
    assert encoded == canonicaljson.encode_canonical_json(value)
    assert parse_json(encoded) == value


@given(wild_json_values)
@example([1e16, 1e10, -0.0, 5e-324, 1.0])
@example([10**40, 1])
@example([0.5, "text", 2])
@example([2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**40])
def test_lenient_encoding_is_that_of_the_reference_encoder(value: Any) -> None:
    assert encode_canonical_json(value, strict=False) == canonicaljson.encode_canonical_json(value)


@given(st.dictionaries(st.text(), st.integers(0, 9)))
def test_keys_are_in_code_point_order(value: dict[str, int]) -> None:
    keys = list(json.loads(encode_canonical_json(value, strict=True)))
    assert keys == sorted(value, key=lambda key: [ord(character) for character in key])


@pytest.mark.parametrize("number", [2**53 - 1, -(2**53) + 1, 0])
def test_strict_accepts_integers_of_53_bits(number: int) -> None:
    assert encode_canonical_json([number], strict=True) == f"[{number}]".encode()


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**64, 1.0, 1e10, -0.0, 0.5, float("nan"), float("inf")])
def test_strict_refuses_other_numbers(number: float) -> None:
    with pytest.raises(Malformed):
        encode_canonical_json({"a": [number]}, strict=True)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_lenient_refuses_what_is_not_a_number(number: float) -> None:
    with pytest.raises(Malformed):
        encode_canonical_json([number], strict=False)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}])
def test_lone_surrogates_have_no_encoding(value: Any, strict: bool) -> None:
    with pytest.raises(Malformed):
        encode_canonical_json(value, strict=strict)


def test_lone_surrogate_beside_a_float_is_malformed_too() -> None:
    with pytest.raises(Malformed):
        encode_canonical_json([1.5, "\ud800"], strict=False)


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object()])
def test_what_json_has_no_type_for_is_our_own_mistake(value: Any) -> None:
    with pytest.raises(TypeError):
        encode_canonical_json([value], strict=False)


@pytest.mark.parametrize("leaf", [1, 1.5])
def test_depth_is_limited_when_encoding(leaf: float) -> None:
    deep = nested(JSON_DEPTH_MAX - 1)
    assert encode_canonical_json([deep, leaf], strict=False)
    with pytest.raises(Malformed, match=f"{JSON_DEPTH_MAX} levels"):
        encode_canonical_json([[deep], leaf], strict=False)


@pytest.mark.parametrize("innermost", [[], {}, [1], {"a": 1.5}])
def test_what_is_encoded_can_be_parsed_again(innermost: Any) -> None:
    deep: Any = innermost
    for _ in range(JSON_DEPTH_MAX - 1):
        deep = [deep]
    assert parse_json(encode_canonical_json(deep, strict=False)) == deep
    with pytest.raises(Malformed, match=f"{JSON_DEPTH_MAX} levels"):
        encode_canonical_json([deep], strict=False)


def test_depth_is_limited_when_parsing() -> None:
    deepest = b"[" * JSON_DEPTH_MAX + b"1" + b"]" * JSON_DEPTH_MAX
    assert parse_json(deepest) == nested(JSON_DEPTH_MAX)
    with pytest.raises(NotJson, match=f"{JSON_DEPTH_MAX} levels"):
        parse_json(b"[" + deepest + b"]")


@pytest.mark.parametrize("number", [b"1", b"1" * 30])
def test_transaction_may_be_parsed_deeper_than_its_events(number: bytes) -> None:
    assert parse_json(b"[" * 400 + number + b"]" * 400, depth_max=1000)
    with pytest.raises(NotJson):
        parse_json(b"[" * 2000 + number + b"]" * 2000, depth_max=5000)


def test_many_shallow_brackets_and_brackets_in_strings_are_no_depth() -> None:
    rows = [[], {}, "[" * 500, '"[[\\'] * 300
    assert parse_json(json.dumps(rows).encode()) == rows


def test_depth_that_only_one_parser_stands_is_no_crash() -> None:
    with suppress(NotJson):
        assert parse_json(b"[" * 1020 + b"1" * 30 + b"]" * 1020, depth_max=1024)


@pytest.mark.parametrize("depth", [2_000, 1_000_000])
@pytest.mark.parametrize("brackets", [b"[]", b"{}"])
def test_hostile_depth_is_refused_even_with_the_limit_raised(depth: int, brackets: bytes) -> None:
    opening = b"[" if brackets == b"[]" else b'{"a":'
    with pytest.raises(NotJson):
        parse_json(opening * depth, depth_max=2 * depth)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"NaN", b"[Infinity]", b'"\\ud800"', b'"\xff"', b"\xef\xbb\xbf{}", b"01", b"1e400", b"{'a':1}"]
)
def test_what_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(NotJson):
        parse_json(data)


@pytest.mark.parametrize("data", [b"[NaN, %d]", b'["\\ud800", %d]', b"\xff%d", b"[1e400, %d]"])
def test_long_numbers_open_no_back_door(data: bytes) -> None:
    with pytest.raises(NotJson):
        parse_json(data % 10**30)


@given(st.integers() | st.integers(2**62, 2**66) | st.integers(-(2**66), -(2**62)))
def test_integers_of_any_size_keep_their_value(number: int) -> None:
    parsed = parse_json(f'{{"a":{number}}}'.encode())["a"]
    assert (parsed, type(parsed)) == (number, int)


@given(st.binary())
def test_any_bytes_parse_or_are_not_json(data: bytes) -> None:
    with suppress(NotJson):
        value = parse_json(data)
        assert parse_json(json.dumps(value).encode()) == value


def test_more_values_than_there_may_be_are_malformed() -> None:
    assert encode_canonical_json([[1], [2]], strict=True, values_max=2) == b"[[1],[2]]"
    with pytest.raises(Malformed, match="more than 2 values"):
        encode_canonical_json([[1], [2], [3]], strict=True, values_max=2)
