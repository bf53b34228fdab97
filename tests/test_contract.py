"""The contract passes the specification's own examples and tells good replies from bad ones."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.contract import (
    DEVIATIONS,
    Contract,
    Deviation,
    check_response,
    is_common_error,
    load_contract,
    standard_error,
)
from tests.spec.openapi import Documents

JSON = "application/json"
SPOILED_MAX = 100
"""Of each example."""

WHOAMI = "/_matrix/client/v3/account/whoami"
SYNC = "/_matrix/client/v3/sync?since=s1&timeout=0"
MESSAGES = "/_matrix/client/v3/rooms/!r%3Aone.test/messages?dir=b"
MESSAGE = {
    "event_id": "$e",
    "room_id": "!r:one.test",
    "sender": "@alice:one.test",
    "origin_server_ts": 1,
    "type": "m.room.message",
    "content": {"msgtype": "m.text", "body": "hi"},
}


@pytest.fixture(scope="session")
def contract(spec_dir: Path) -> Contract:
    return Contract(spec_dir)


def without(event: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in fields}


# The schemas as a whole.


def test_every_documented_response_can_be_validated(contract: Contract) -> None:
    documented = list(contract.json_responses())
    for operation, name in documented:
        contract.response_validator(operation, name)
    # What is left: the operations that answer no JSON (media, redirects) or anything at all.
    assert len({operation for operation, _ in documented}) == 209


def expand(documents: Documents, node: Any, file: str) -> Any:
    """An example with its references, beside which fields are added, put in."""
    if isinstance(node, list):
        return [expand(documents, inner, file) for inner in node]
    if not isinstance(node, dict):
        return node
    expanded = {name: expand(documents, inner, file) for name, inner in node.items() if name != "$ref"}
    if "$ref" not in node:
        return expanded
    target = expand(documents, *documents.refer(node["$ref"], file))
    return {**target, **expanded} if expanded else target


def examples_of_responses(contract: Contract, documents: Documents) -> Iterator[tuple[str, str, int, Any]]:
    for operation, name in contract.json_responses():
        file = f"api/{operation.api}/{operation.file}"
        items = [item for path in documents.read(file)["paths"].values() for item in path.values()]
        documented = next(item for item in items if item["operationId"] == operation.id)["responses"][name]
        response, file = documents.follow(documented, file)
        for example in response["content"][JSON].get("examples", {}).values():
            value, where = documents.follow(example, file)
            yield (
                operation.method,
                operation.path,
                int(name.replace("X", "0")),
                expand(documents, value["value"], where),
            )


def test_examples_of_responses_pass(contract: Contract, spec_dir: Path) -> None:
    examples = list(examples_of_responses(contract, Documents(spec_dir)))
    assert len(examples) > 300
    for method, path, status, example in examples:
        contract.check_response(method, path, status, example, JSON)


def spoil(value: Any) -> Iterator[Any]:
    """The value with one thing in it of another kind, or missing, or too much, each time another."""
    for other in (None, True, 1.5, -1, "@", "", [], {}, [None], {"": None}):
        if other != value:
            yield other
    if isinstance(value, list):
        yield [*value, value]
        for place, inner in enumerate(value):
            yield from ([*value[:place], spoiled, *value[place + 1 :]] for spoiled in spoil(inner))
    if isinstance(value, dict):
        yield {**value, "more": 1}
        for name, inner in value.items():
            yield without(value, name)
            yield from ({**value, name: spoiled} for spoiled in spoil(inner))


def test_nothing_is_quickly_passed_that_is_wrong(contract: Contract, spec_dir: Path) -> None:
    wrong = 0
    for method, path, status, example in examples_of_responses(contract, Documents(spec_dir)):
        operation = contract.find_operation(method, path)
        assert operation is not None
        names = {int(name.replace("X", "0")): name for each, name in contract.json_responses() if each == operation}
        validator = contract.response_validator(operation, names[status])
        for spoiled in islice(spoil(example), SPOILED_MAX):
            is_wrong = next(validator.iter_exact_errors(spoiled), None) is not None
            wrong += is_wrong
            assert not (is_wrong and validator.is_quickly_passed(spoiled)), (operation, spoiled)
    assert wrong > 1000


# Its method is m.sas.v1, and it has only what every method has.
INCOMPLETE_EXAMPLES = {"event-schemas/examples/m.key.verification.start.yaml"}


def test_examples_of_events_pass(contract: Contract, spec_dir: Path) -> None:
    documents = Documents(spec_dir)
    files = [file for file in documents.list_files("event-schemas/examples") if file not in INCOMPLETE_EXAMPLES]
    assert len(files) > 70
    for file in files:
        event = expand(documents, documents.read(file), file)
        assert contract.check_event(event), file


# Which operation is asked.


@pytest.mark.parametrize(
    ("method", "path", "operation_id"),
    [
        ("GET", WHOAMI, "getTokenOwner"),
        ("GET", WHOAMI.replace("v3", "r0"), "getTokenOwner"),
        ("GET", "/_matrix/client/v1/sync", "sync"),
        ("GET", "/_matrix/media/r0/config", "getConfig"),
        ("GET", "/_matrix/client/v3/rooms/!r/state/m.room.name/", "getRoomStateWithKey"),
        ("GET", "/_matrix/client/v3/rooms/!r/state/m.room.name", "getRoomStateWithKey"),
        ("GET", "/_matrix/client/v3/rooms/!r/state", "getRoomState"),
        ("GET", "/_matrix/client/v3/pushrules/global/", "getPushRulesGlobal"),
        ("GET", "/_matrix/client/v3/room_keys/version/1", "getRoomKeysVersion"),
        ("PUT", "/_matrix/federation/v2/send_join/!r/$e", "sendJoinV2"),
        ("GET", "/.well-known/matrix/client", "getWellknown"),
    ],
)
def test_find_operation_knows_the_path(contract: Contract, method: str, path: str, operation_id: str) -> None:
    operation = contract.find_operation(method, path)
    assert operation is not None
    assert operation.id == operation_id


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", WHOAMI),
        ("GET", WHOAMI + "/more"),
        ("GET", "/_matrix/client/v9/account/whoami"),
        ("PUT", "/_matrix/federation/v1/send_join/!r/$e/x"),
        ("GET", "/_matrix/client/v3/rooms//state"),
    ],
)
def test_find_operation_refuses_what_is_not_specified(contract: Contract, method: str, path: str) -> None:
    assert contract.find_operation(method, path) is None


# Replies.


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (WHOAMI, {"user_id": "@alice:one.test", "device_id": "D"}),
        (SYNC, {"next_batch": "s2"}),
        (
            SYNC,
            {
                "next_batch": "s2",
                "rooms": {"join": {"!r:one.test": {"timeline": {"events": [without(MESSAGE, "room_id")]}}}},
            },
        ),
        (MESSAGES, {"start": "t1", "chunk": [MESSAGE]}),
    ],
)
def test_good_reply_passes(contract: Contract, path: str, body: object) -> None:
    assert contract.check_response("GET", path, 200, body, "application/json; charset=utf-8") is not None


@pytest.mark.parametrize(
    ("path", "body", "complaint"),
    [
        (WHOAMI, {"device_id": "D"}, r"\$: 'user_id' is a required property"),
        (WHOAMI, {"user_id": "alice"}, r"\$\.user_id: 'alice' (does not match '\^@'|is not a 'mx-user-id')"),
        (WHOAMI, {"user_id": "@alice:one.test", "device_id": None}, r"\$\.device_id: None is not of type 'string'"),
        (WHOAMI, ["@alice:one.test"], r"\$: \[.*\] is not of type 'object'"),
        (SYNC, {"rooms": {}}, r"\$: 'next_batch' is a required property"),
        (
            SYNC,
            {"next_batch": "s2", "rooms": {"join": {"!r:x": {"timeline": {"events": [without(MESSAGE, "sender")]}}}}},
            r"\$\.rooms\.join\['!r:x'\]\.timeline\.events\[0\]: 'sender' is a required property",
        ),
        (MESSAGES, {"chunk": [MESSAGE]}, r"\$: 'start' is a required property"),
        (MESSAGES, {"start": "t", "chunk": [without(MESSAGE, "room_id")]}, r"\$\.chunk\[0\]: 'room_id' is a required"),
        (
            MESSAGES,
            {"start": "t", "chunk": [{**MESSAGE, "origin_server_ts": "1"}]},
            r"\$\.chunk\[0\]\.origin_server_ts",
        ),
    ],
)
def test_bad_reply_is_told(contract: Contract, path: str, body: object, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        contract.check_response("GET", path, 200, body, JSON)


def test_wrong_content_type_is_told(contract: Contract) -> None:
    with pytest.raises(AssertionError, match="Content-Type is text/html"):
        contract.check_response("GET", SYNC, 200, {"next_batch": "s"}, "text/html")


def test_undocumented_success_is_told(contract: Contract) -> None:
    with pytest.raises(AssertionError, match="getTokenOwner does not document 204"):
        contract.check_response("GET", WHOAMI, 204, None, None)


def test_media_may_be_of_any_type(contract: Contract) -> None:
    path = "/_matrix/client/v1/media/download/one.test/abc"
    assert contract.check_response("GET", path, 200, None, "video/mp4") is not None


def test_undocumented_error_has_the_standard_shape(contract: Contract) -> None:
    error = {"errcode": "M_UNKNOWN", "error": "It broke"}
    assert contract.check_response("GET", SYNC, 500, error, JSON) is not None
    with pytest.raises(AssertionError, match=r"\$\.errcode: None is not an error code"):
        contract.check_response("GET", SYNC, 500, {"error": "It broke"}, JSON)


def test_common_error_may_take_the_place_of_a_documented_one(contract: Contract) -> None:
    path = "/_matrix/client/v3/delete_devices"
    unknown_token = {"errcode": "M_UNKNOWN_TOKEN", "error": "Who are you?"}
    assert contract.check_response("POST", path, 401, unknown_token, JSON) is not None
    assert contract.check_response("POST", path, 401, {"flows": [{"stages": ["m.login.password"]}]}, JSON) is not None
    with pytest.raises(AssertionError, match="'stages' is a required property"):
        contract.check_response("POST", path, 401, {"flows": [{}], **unknown_token}, JSON)
    with pytest.raises(AssertionError, match="'flows' is a required property"):
        contract.check_response("POST", path, 401, {"errcode": "M_ODD", "error": "x"}, JSON)


def test_errors_of_unknown_paths_have_the_standard_shape(contract: Contract) -> None:
    path = "/_matrix/client/v3/nowhere"
    assert contract.check_response("GET", path, 404, {"errcode": "M_UNRECOGNIZED", "error": "No."}, JSON) is None
    with pytest.raises(AssertionError, match="is not a standard error"):
        contract.check_response("GET", path, 404, None, "text/html")


@pytest.mark.usefixtures("spec_dir")
def test_one_contract_serves_every_test() -> None:
    assert load_contract() is load_contract()
    with pytest.raises(AssertionError, match="whoami -> 200 is not what the specification documents"):
        check_response("GET", WHOAMI, 200, {}, JSON)


@pytest.mark.parametrize(
    "body", [None, [], {}, {"errcode": "M_UNKNOWN"}, {"errcode": "", "error": "x"}, {"errcode": "m x", "error": "x"}]
)
def test_standard_error_needs_a_code_and_a_sentence(body: object) -> None:
    assert standard_error(body) != []


def test_common_error_is_a_standard_one() -> None:
    assert is_common_error({"errcode": "M_FORBIDDEN", "error": "No."})
    assert not is_common_error({"errcode": "M_FORBIDDEN"})
    assert not is_common_error({"errcode": "M_ROOM_IN_USE", "error": "No."})


def test_deviation_lets_its_complaint_through_and_no_other(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    deviation = Deviation("getTokenOwner", 200, r"\$\.device_id", "A reason that is told at some length.")
    monkeypatch.setattr("tests.contract.DEVIATIONS", (deviation,))
    contract.check_response("GET", WHOAMI, 200, {"user_id": "@alice:one.test", "device_id": None}, JSON)
    with pytest.raises(AssertionError, match=r"\$\.is_guest"):
        contract.check_response("GET", WHOAMI, 200, {"user_id": "@alice:one.test", "is_guest": None}, JSON)


def test_deviations_have_a_reason() -> None:
    assert [it for it in DEVIATIONS if len(it.reason) < 20] == []


# Events.


def test_good_event_passes(contract: Contract) -> None:
    assert contract.check_event(MESSAGE)
    assert contract.check_event(without(MESSAGE, "room_id"))


def test_event_of_an_unknown_type_has_no_schema(contract: Contract) -> None:
    assert not contract.check_event({**MESSAGE, "type": "org.example.thing"})


@pytest.mark.parametrize(
    ("event", "complaint"),
    [
        (without(MESSAGE, "sender"), r"\$: 'sender' is a required property"),
        ({**MESSAGE, "content": {"msgtype": "m.text"}}, r"\$\.content: 'body' is a required property"),
        ({**MESSAGE, "content": {"msgtype": "m.image", "body": "x", "url": "http://x"}}, r"\$\.content\.url"),
        ({**MESSAGE, "type": "m.room.name", "content": {"name": "x"}}, r"\$: 'state_key' is a required property"),
        (
            {"type": "m.receipt", "content": {"$e": {"m.read": {"@a:b": {"ts": "1"}}}}},
            r"m\.read.*ts: '1' is not of type",
        ),
        ({"type": "m.room.name", "content": {"name": "x"}, "sender": "@a:b"}, r"'state_key' is a required property"),
    ],
)
def test_bad_event_is_told(contract: Contract, event: dict[str, Any], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        contract.check_event(event)


def test_content_of_a_redacted_event_is_not_checked(contract: Contract) -> None:
    redacted = {**MESSAGE, "content": {}, "unsigned": {"redacted_because": {}}}
    assert contract.check_event(redacted)
    with pytest.raises(AssertionError, match="'sender' is a required property"):
        contract.check_event(without(redacted, "sender"))
