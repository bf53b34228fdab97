"""Structured logging on the standard library: what is logged, how a line looks, and what never stands in one.

A module asks for its logger once and gives facts as keywords, so that they stay apart from the sentence::

    log = get_logger(__name__)
    log.warning("cannot reach the destination", destination=destination, attempt=3)

Levels are chosen with a filter such as ``warn,state_res=warn,conduit_py.service=debug``, the part of Rust's
``EnvFilter`` that Conduit's files use. Secrets are taken out of every record before it is written: of its message, its
fields and its traceback. Lines go to standard error, which a process manager reads; a write there takes microseconds.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

LogFormat = Literal["text", "json"]

TRACE: Final = 5
OFF: Final = logging.CRITICAL + 1

LEVELS: Final[Mapping[str, int]] = {
    "off": OFF,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}

TARGETS: Final[Mapping[str, str]] = {
    "state_res": "conduit_py.matrix.state_res",
    "ruma_state_res": "conduit_py.matrix.state_res",
    "ruma": "conduit_py.matrix",
    "conduit": "conduit_py",
    "conduit_py.database": "conduit_py.storage",
    "hyper": "hypercorn",
    "reqwest": "conduit_py.outbound",
    "tower_http": "conduit_py.http.access",
}
"""Names that Conduit's filters use, and the loggers here that do the same work."""

OUR_LOGGERS: Final = ("conduit_py", "kvschema", "hypercorn", "quart", "trio")
"""Roots of the loggers that exist; a filter for any other, such as Rust's ``sled``, has nothing to filter."""

_DEFAULT_LEVEL: Final = logging.WARNING

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the request that something is done for; every line logged meanwhile carries it."""


# --- asking for a logger ---


class StructuredLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose methods take fields as keywords."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        standard = {name: kwargs.pop(name) for name in ("exc_info", "stack_info", "stacklevel") if name in kwargs}
        extra = dict(kwargs.pop("extra", None) or {})
        return msg, {**standard, "extra": {**extra, "fields": dict(kwargs)}}

    def trace(self, message: str, *args: object, **fields: object) -> None:
        """More than debug: what happens for every event."""
        self.log(TRACE, message, *args, **fields)  # type: ignore[arg-type]


def get_logger(name: str) -> StructuredLogger:
    """The logger of a module; pass ``__name__``."""
    return StructuredLogger(logging.getLogger(name), {})


@contextmanager
def request_id(value: str) -> Iterator[None]:
    """Everything logged inside, in this task and the tasks it starts, carries this id."""
    token = REQUEST_ID.set(value)
    try:
        yield
    finally:
        REQUEST_ID.reset(token)


# --- choosing what is logged ---


def parse_filter(text: str) -> tuple[dict[str, int], list[str]]:
    """Levels by logger name, ``""`` for all others, and a sentence for each part that makes no sense.

    A directive is ``level``, ``target=level`` or ``target``, which logs everything of that target.
    """
    levels: dict[str, int] = {"": _DEFAULT_LEVEL}
    complaints: list[str] = []
    for directive in filter(None, (part.strip() for part in text.split(","))):
        target, equals, word = directive.rpartition("=")
        if not equals and word.lower() not in LEVELS:
            target, word = word, "trace"
        level = LEVELS.get(word.strip().lower())
        name = _logger_name(target.strip())
        if level is None:
            complaints.append(f'"{directive}" in the log filter is passed over: levels are {", ".join(LEVELS)}')
        elif re.fullmatch(r"[\w.]*", name) is None:
            complaints.append(f'"{directive}" in the log filter is passed over: only names of targets are understood')
        elif name == "" or name.partition(".")[0] in OUR_LOGGERS:
            levels[name] = level
    return levels, complaints


def _logger_name(target: str) -> str:
    root, dot, rest = target.replace("::", ".").partition(".")
    name = f"{TARGETS.get(root, root)}{dot}{rest}"
    return TARGETS.get(name, name)


def setup_logging(filter_text: str, log_format: LogFormat, stream: TextIO | None = None) -> logging.Handler:
    """Log to ``stream`` (standard error) what ``filter_text`` lets through. Replaces what an earlier call set up.

    Parts of the filter that make no sense are passed over and logged as warnings. Returns the handler it added.
    """
    tear_down_logging()
    levels, complaints = parse_filter(filter_text)
    handler = _Handler(stream or sys.stderr, tuple(levels))
    handler.addFilter(ScrubbingFilter())
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger().addHandler(handler)
    for complaint in complaints:
        get_logger(__name__).warning(complaint)
    return handler


def tear_down_logging() -> None:
    """Take back what `setup_logging` did."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(handler)
        for name in handler.names:
            logging.getLogger(name).setLevel(logging.NOTSET if name else logging.WARNING)


class _Handler(logging.StreamHandler[TextIO]):
    """Remembers whose levels were set along with it."""

    def __init__(self, stream: TextIO, names: tuple[str, ...]) -> None:
        super().__init__(stream)
        self.names = names


# --- what never stands in a line ---

SCRUBBED: Final = "(hidden)"

_SECRET_NAMES: Final = (
    r"(?:access|refresh|login|registration|openid|as|hs|pickle)_?token|password|jwt_secret|client_secret|shared_secret"
)
_VALUE: Final = r'"(?:[^"\\]|\\.)*"?|' + r"'(?:[^'\\]|\\.)*'?|" + r"[^\s&\"',;)\]}]+"
# After a name: in a query, a header, JSON, JSON inside JSON, the repr of a dict or of bytes.
_ASSIGNED: Final = re.compile(rf"(?i)({_SECRET_NAMES})(\\?[\"']?\s*(?:[=:]|%3D)\s*b?)(?:\\\"[^\"\\]*\\\"|{_VALUE})")
# The repr of a list of pairs, which is how headers are passed around.
_PAIRED: Final = re.compile(rf"(?i)([\"'](?:{_SECRET_NAMES})[\"']\s*,\s*b?)(?:{_VALUE})")
_BEARER: Final = re.compile(r"(?i)\b(Bearer(?:\s|%20|\+)+)[^\s\"',;)\]}\\]+")


def scrub(text: str) -> str:
    """The text without access tokens, passwords and their like."""
    text = _ASSIGNED.sub(rf"\1\2{SCRUBBED}", text)
    return _BEARER.sub(rf"\1{SCRUBBED}", _PAIRED.sub(rf"\1{SCRUBBED}", text))


class ScrubbingFilter(logging.Filter):
    """Takes secrets out of records: the message is put together, cleaned, and its arguments dropped; so is a traceback.

    Lets every record through.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = scrub(_message(record))
        record.args = None
        fields: dict[str, object] = getattr(record, "fields", {})
        record.fields = {name: _clean(name, value) for name, value in fields.items()}
        record.request_id = REQUEST_ID.get()
        if record.exc_info:
            record.exc_text = _PLAIN.formatException(record.exc_info)
            record.exc_info = None
        record.exc_text = scrub(record.exc_text) if record.exc_text else None
        record.stack_info = scrub(record.stack_info) if record.stack_info else None
        return True


_PLAIN = logging.Formatter()


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        # Arguments that do not fit the sentence are a mistake of ours, and none to end a request with.
        return f"{record.msg} {record.args}"


def _clean(name: str, value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return SCRUBBED if re.fullmatch(f"(?i){_SECRET_NAMES}", name) else scrub(str(value))


# --- how a line looks ---


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.000Z WARN conduit_py.service.sending: cannot reach it attempt=3``, tracebacks indented.

    Control characters are escaped: what others send must not forge a line or speak to a terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = dict(getattr(record, "fields", {}))
        if (request := getattr(record, "request_id", None)) is not None:
            fields["request_id"] = request
        words = [_time(record), _level(record), f"{record.name}:", _printable(record.getMessage())]
        words += [f"{name}={_field_text(value)}" for name, value in fields.items()]
        below = "\n".join(filter(None, (record.exc_text, record.stack_info)))
        return " ".join(words) + "".join(f"\n    {_printable(line)}" for line in below.splitlines())


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, target, message, request_id, fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": _time(record),
            "level": _level(record),
            "target": record.name,
            "message": record.getMessage(),
            "request_id": getattr(record, "request_id", None),
            "fields": getattr(record, "fields", None) or None,
            "exception": record.exc_text,
            "stack": record.stack_info,
        }
        return json.dumps({name: value for name, value in entry.items() if value is not None})


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03}Z"


def _level(record: logging.LogRecord) -> str:
    return {logging.WARNING: "WARN", TRACE: "TRACE"}.get(record.levelno, record.levelname)


def _field_text(value: object) -> str:
    text = _printable(str(value))
    return json.dumps(text, ensure_ascii=False) if re.search(r'[\s"=]|^$', text) else text


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
