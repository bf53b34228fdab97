"""Holds replies and events against the specification's own schemas.

``check_response`` is cheap enough to be asked about every reply of every test: schemas are made when first needed, and
kept. A reply of a documented status fits the documented schema; a reply of a status the specification does not list for
the operation is a standard error, or it is wrong. Where the specification is stricter than its own rules elsewhere,
``DEVIATIONS`` says so, with the reason; nothing else is let through.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import ValidationError
from jsonschema.exceptions import best_match

from tests.spec.openapi import Documents, Validator
from tests.spec.source import Operation, find_spec_dir, load_operations

__all__ = ["COMMON_ERRCODES", "DEVIATIONS", "Contract", "Deviation", "check_event", "check_response", "load_contract"]

COMMON_ERRCODES = frozenset(
    {
        "M_BAD_JSON",
        "M_FORBIDDEN",
        "M_LIMIT_EXCEEDED",
        "M_MISSING_TOKEN",
        "M_NOT_FOUND",
        "M_NOT_JSON",
        "M_UNAUTHORIZED",
        "M_UNKNOWN",
        "M_UNKNOWN_TOKEN",
        "M_UNRECOGNIZED",
        "M_USER_LOCKED",
        "M_USER_SUSPENDED",
    }
)
"""Any operation may answer these, whatever it documents for the status.

Spec: client-server-api/#common-error-codes
"""


@dataclass(frozen=True, slots=True)
class Deviation:
    """A complaint of the schema that is not a fault of the reply."""

    operation_id: str
    status: int
    place: str
    """Regular expression for the JSON path of the complaint."""
    reason: str


DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        "getTurnServer",
        200,
        r"\$",
        "no form is given for a server without TURN servers, and the empty object is what clients know",
    ),
    Deviation(
        "getRoomStateWithKey",
        200,
        r"\$",
        "exactly one of two forms is asked for, a content or an event, and any event is a content too",
    ),
    Deviation(
        "uploadCrossSigningKeys",
        401,
        r"\$\.(errcode|error)",
        "the next step of user-interactive authentication, which is not listed among the replies of this operation",
    ),
    *(
        Deviation(
            operation_id,
            status,
            rf"{operation_id} does not document {status}",
            "HTTP has it for whoever asks for a part, or for what they have already (RFC 9110)",
        )
        for operation_id in (
            "getContent",
            "getContentAuthed",
            "getContentOverrideName",
            "getContentOverrideNameAuthed",
            "getContentThumbnail",
            "getContentThumbnailAuthed",
        )
        for status in (206, 304)
    ),
)


@dataclass(frozen=True, slots=True)
class Documented:
    """One operation with the file it is documented in."""

    operation: Operation
    file: str
    responses: dict[str, Any]
    segments: tuple[str, ...]


class Contract:
    """The schemas of one specification folder."""

    def __init__(self, spec_dir: Path) -> None:
        self._documents = Documents(spec_dir)
        self._operations: dict[tuple[str, int], list[Documented]] = {}
        self._by_operation: dict[Operation, Documented] = {}
        self._response_validators: dict[tuple[Operation, str], Validator] = {}
        self._event_validators: dict[tuple[str, str], Validator] = {}
        for operation in load_operations(spec_dir):
            self._add(operation)

    def _add(self, operation: Operation) -> None:
        file = f"api/{operation.api}/{operation.file}"
        responses = next(
            item["responses"]
            for path in self._documents.read(file)["paths"].values()
            for item in path.values()
            if item["operationId"] == operation.id
        )
        segments = tuple(operation.path.split("/"))
        documented = Documented(operation, file, {str(status): it for status, it in responses.items()}, segments)
        self._by_operation[operation] = documented
        self._operations.setdefault((operation.method, len(segments)), []).append(documented)
        if operation.path.endswith("/{stateKey}"):
            # An empty state key may be left out together with its slash.
            short = Documented(operation, file, documented.responses, segments[:-1])
            self._operations.setdefault((operation.method, len(short.segments)), []).append(short)

    def find_operation(self, method: str, path: str) -> Operation | None:
        """The operation that ``path`` (as sent, percent-encoded, query or not) asks for.

        ``r0``, ``v1`` and ``v3`` of the client-server API are spellings of each other; the exact one goes first.
        """
        segments = path.partition("?")[0].split("/")
        fits = [
            (_literals(documented.segments, segments), documented.operation)
            for documented in self._operations.get((method, len(segments)), [])
            if _fits(documented.segments, segments)
        ]
        return max(fits, key=lambda fit: fit[0])[1] if fits else None

    def check_response(
        self, method: str, path: str, status: int, body_json: object, content_type: str | None
    ) -> Operation | None:
        """Raises ``AssertionError`` if the reply is not what the specification documents.

        ``body_json`` is the parsed body, ``None`` if it is not JSON. Returns the operation that was asked for; ``None``
        if it is not in the specification, and then only an error's shape is checked.
        """
        operation = self.find_operation(method, path)
        asked = f"{method} {path} -> {status}"
        if operation is None:
            # Pages are for people, not for clients.
            is_page = path.startswith("/_matrix/static/") or "/fallback/web" in path
            if status >= 400 and path.startswith("/_matrix/") and not is_page:
                _raise(asked, standard_error(body_json))
            return None
        response, name = self._response(self._by_operation[operation], status)
        if response is None:
            complaints = standard_error(body_json) if status >= 400 else [f"{operation.id} does not document {status}"]
        else:
            complaints = list(self._complaints(operation, name, response, body_json, content_type))
            if status >= 400 and complaints and is_common_error(body_json):
                complaints = []
        _raise(asked, [it for it in complaints if not is_deviation(operation, status, it)])
        return operation

    def _response(self, documented: Documented, status: int) -> tuple[dict[str, Any] | None, str]:
        for name in (str(status), f"{status // 100}XX"):
            if name in documented.responses:
                response, _ = self._documents.follow(documented.responses[name], documented.file)
                return response, name
        return None, ""

    def _complaints(
        self, operation: Operation, name: str, response: dict[str, Any], body_json: object, content_type: str | None
    ) -> Iterator[str]:
        content = response.get("content")
        if content is None:
            return
        media_type = (content_type or "").partition(";")[0].strip().lower()
        if "application/json" in content and (len(content) == 1 or media_type == "application/json"):
            if media_type != "application/json":
                yield f"Content-Type is {content_type}, not application/json"
            else:
                yield from _errors(self.response_validator(operation, name), body_json)
        elif media_type not in content and "application/octet-stream" not in content:
            yield f"Content-Type is {content_type}, not one of {', '.join(content)}"

    def response_validator(self, operation: Operation, name: str) -> Validator:
        """Of the JSON body that ``operation`` documents for ``name``: ``200``, ``4XX``."""
        if (operation, name) not in self._response_validators:
            documented = self._by_operation[operation]
            response, file = self._documents.follow(documented.responses[name], documented.file)
            schema = response["content"]["application/json"]["schema"]
            self._response_validators[operation, name] = self._documents.validator(schema, file)
        return self._response_validators[operation, name]

    def responses(self) -> Iterator[tuple[Operation, str]]:
        """Every operation with each status it documents."""
        for operation, documented in self._by_operation.items():
            for name in documented.responses:
                yield operation, name

    def json_responses(self) -> Iterator[tuple[Operation, str]]:
        """Every operation with each status it documents a JSON body for."""
        for operation, documented in self._by_operation.items():
            for name in documented.responses:
                response, _ = self._documents.follow(documented.responses[name], documented.file)
                if "application/json" in response.get("content", {}):
                    yield operation, name

    def documented_statuses(self) -> Iterator[tuple[Operation, Collection[str]]]:
        """Every operation with the statuses it documents: ``200``, ``4XX``."""
        for operation, documented in self._by_operation.items():
            yield operation, documented.responses.keys()

    def check_event(self, event: dict[str, Any]) -> bool:
        """Raises ``AssertionError`` if an event is not what its type's schema documents; false if there is no schema.

        An event of a room has ``room_id`` or, in ``/sync``, only ``event_id``; without either it is stripped state,
        account data, to-device or ephemeral. The content of a redacted event is not checked: what is left of it is a
        matter of the room version.
        """
        kind = "room" if "room_id" in event else "sync" if "event_id" in event else "bare"
        if "redacted_because" in event.get("unsigned", {}):
            validator = self._event_validator(f"{_CORE}/sync_room_event.yaml", kind)
        else:
            file = self._event_file(event)
            if file is None:
                return False
            validator = self._event_validator(file, kind)
        _raise(f"{event.get('type')} {event.get('event_id', '')}", list(_errors(validator, event)))
        return True

    def _event_file(self, event: dict[str, Any]) -> str | None:
        event_type, content = event.get("type"), event.get("content", {})
        for variant in ("msgtype", "method"):
            file = f"{_EVENTS}/{event_type}${content.get(variant)}.yaml"
            if self._documents.exists(file):
                return file
        file = f"{_EVENTS}/{event_type}.yaml"
        return file if self._documents.exists(file) else None

    def _event_validator(self, file: str, kind: str) -> Validator:
        if (file, kind) not in self._event_validators:
            schema = self._documents.read(file)
            self._event_validators[file, kind] = self._documents.validator(schema, file, _ENVELOPES[kind])
        return self._event_validators[file, kind]


_EVENTS = "event-schemas/schema"
_CORE = f"{_EVENTS}/core-event-schema"
_ROOM_EVENT, _STATE_EVENT = f"{_CORE}/room_event.yaml", f"{_CORE}/state_event.yaml"
_ENVELOPES = {
    "room": {},
    "sync": {_ROOM_EVENT: f"{_CORE}/sync_room_event.yaml", _STATE_EVENT: f"{_CORE}/sync_state_event.yaml"},
    "bare": {_ROOM_EVENT: f"{_CORE}/event.yaml", _STATE_EVENT: f"{_CORE}/stripped_state.yaml"},
}
"""Per kind of event, what stands in for the envelope that its type's schema names."""


@functools.cache
def load_contract() -> Contract | None:
    """The contract of the specification at hand, ``None`` if there is none."""
    spec_dir = find_spec_dir()
    return None if spec_dir is None else Contract(spec_dir)


def check_response(
    method: str, path: str, status: int, body_json: object, content_type: str | None
) -> Operation | None:
    """``Contract.check_response``; checks nothing where the specification's data is not at hand."""
    contract = load_contract()
    return None if contract is None else contract.check_response(method, path, status, body_json, content_type)


def check_event(event: dict[str, Any]) -> bool:
    """``Contract.check_event``; checks nothing where the specification's data is not at hand."""
    contract = load_contract()
    return contract is not None and contract.check_event(event)


def standard_error(body_json: object) -> list[str]:
    """What is wrong with ``body_json`` as a standard error.

    Spec: client-server-api/#standard-error-response
    """
    if not isinstance(body_json, dict):
        return ["$: is not a standard error, which is a JSON object"]
    complaints = []
    errcode, error = body_json.get("errcode"), body_json.get("error")
    if not isinstance(errcode, str) or re.fullmatch(r"[A-Z][A-Z0-9_.]*", errcode) is None:
        complaints.append(f"$.errcode: {errcode!r} is not an error code")
    if not isinstance(error, str) or not error:
        complaints.append(f"$.error: {error!r} is not a sentence")
    return complaints


def is_common_error(body_json: object) -> bool:
    """Whether this is an error that every operation may answer, and not the next step of an authentication."""
    if not isinstance(body_json, dict) or "flows" in body_json:
        return False
    return not standard_error(body_json) and body_json["errcode"] in COMMON_ERRCODES


def is_deviation(operation: Operation, status: int, complaint: str) -> bool:
    place = complaint.partition(": ")[0]
    return any(
        (it.operation_id, it.status) == (operation.id, status) and re.fullmatch(it.place, place) for it in DEVIATIONS
    )


def _fits(template: Iterable[str], segments: list[str]) -> bool:
    last = len(segments) - 1
    return all(
        expected == got
        or (_is_placeholder(expected) and (got != "" or position == last))
        or (position == _VERSION and segments[2] in _VERSIONED and {expected, got} <= _SPELLINGS)
        for position, (expected, got) in enumerate(zip(template, segments, strict=True))
    )


_VERSION = 3
"""Which segment of ``/_matrix/client/v3/sync`` names the version."""
_VERSIONED = {"client", "media"}
_SPELLINGS = {"r0", "v1", "v3"}


def _is_placeholder(segment: str) -> bool:
    return segment.startswith("{")


def _literals(template: Iterable[str], segments: list[str]) -> int:
    return sum(expected == got for expected, got in zip(template, segments, strict=True))


def _errors(validator: Validator, instance: object) -> Iterator[str]:
    for error in validator.iter_errors(instance):
        for leaf in _leaves(error):
            yield f"{leaf.json_path}: {leaf.message[:300]}"


def _leaves(error: ValidationError) -> Iterator[ValidationError]:
    """``allOf`` fails for each of its reasons; of ``anyOf`` and ``oneOf`` the nearest miss is the one to tell."""
    if error.validator in {"anyOf", "oneOf"} and error.context:
        yield best_match([error]) or error
    else:
        yield error


def _raise(asked: str, complaints: list[str]) -> None:
    if complaints:
        shown = "".join(f"\n  {complaint}" for complaint in sorted(set(complaints))[:10])
        raise AssertionError(f"{asked} is not what the specification documents:{shown}")
