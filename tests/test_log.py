"""What is logged, how a line looks, and that secrets are never in one."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.log import (
    OFF,
    TRACE,
    LogFormat,
    ScrubbingFilter,
    get_logger,
    parse_filter,
    request_id,
    scrub,
    setup_logging,
    tear_down_logging,
)

log = get_logger("conduit_py.service.sending")

TOKEN = "syt_YWxpY2U_XcvDfgTyHj_0aBcDe"


@pytest.fixture(autouse=True)
def levels_are_put_back() -> Iterator[None]:
    level = logging.getLogger().level
    yield
    tear_down_logging()
    logging.getLogger().setLevel(level)


def start(filter_text: str = "trace", log_format: LogFormat = "text") -> io.StringIO:
    stream = io.StringIO()
    setup_logging(filter_text, log_format, stream)
    return stream


def without_time(stream: io.StringIO) -> list[str]:
    return [line.partition(" ")[2] for line in stream.getvalue().splitlines()]


# --- filters ---


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("", {"": logging.WARNING}),
        ("info", {"": logging.INFO}),
        ("off", {"": OFF}),
        ("WARN", {"": logging.WARNING}),
        (
            "info,state_res=warn,rocket=off,_=off,sled=off",
            {"": logging.INFO, "conduit_py.matrix.state_res": logging.WARNING},
        ),
        ("warn, conduit_py.service = debug", {"": logging.WARNING, "conduit_py.service": logging.DEBUG}),
        ("conduit::database=trace", {"": logging.WARNING, "conduit_py.storage": TRACE}),
        ("info,tower_http=debug", {"": logging.INFO, "conduit_py.http.access": logging.DEBUG}),
        ("error,kvschema", {"": logging.ERROR, "kvschema": TRACE}),
        ("info,error", {"": logging.ERROR}),
    ],
)
def test_filter_gives_levels_by_logger(text: str, levels: dict[str, int]) -> None:
    assert parse_filter(text) == (levels, [])


@pytest.mark.parametrize("text", ["conduit_py=loud", "[span]=info", "conduit_py[span{field=1}]=info"])
def test_filter_that_makes_no_sense_is_passed_over_with_a_sentence(text: str) -> None:
    levels, complaints = parse_filter(text)
    assert levels == {"": logging.WARNING}
    assert len(complaints) == 1
    assert f'"{text}" in the log filter is passed over' in complaints[0]


@given(st.text())
def test_filter_takes_any_text(text: str) -> None:
    levels, _ = parse_filter(text)
    assert "" in levels


def test_filter_lets_through_what_it_says() -> None:
    stream = start("warn,conduit_py.service=debug,conduit_py.service.sending=error")
    get_logger("conduit_py.api").info("no")
    get_logger("conduit_py.api").warning("yes 1")
    get_logger("conduit_py.service").debug("yes 2")
    get_logger("conduit_py.service.users").debug("yes 3")
    log.warning("no")
    assert [line.rpartition(": ")[2] for line in without_time(stream)] == ["yes 1", "yes 2", "yes 3"]


def test_trace_is_below_debug() -> None:
    stream = start("debug")
    log.trace("no")
    assert stream.getvalue() == ""
    stream = start("trace")
    log.trace("event", depth=3)
    assert without_time(stream) == ["TRACE conduit_py.service.sending: event depth=3"]


def test_bad_filter_is_logged() -> None:
    assert "conduit_py=loud" in start("conduit_py=loud").getvalue()


def test_second_setup_replaces_the_first() -> None:
    first = start("conduit_py.service=debug")
    second = start("warn")
    log.debug("no")
    log.warning("once")
    assert first.getvalue() == ""
    assert without_time(second) == ["WARN conduit_py.service.sending: once"]


# --- lines ---


def test_line_has_time_level_target_message_and_fields() -> None:
    stream = start()
    log.warning("cannot reach %s", "two.test", attempt=3, why="timed out", nothing="", flag=True)
    time, _, rest = stream.getvalue().partition(" ")
    assert len(time) == len("2026-01-31T12:00:00.000Z")
    assert time.endswith("Z")
    assert rest == (
        'WARN conduit_py.service.sending: cannot reach two.test attempt=3 why="timed out" nothing="" flag=True\n'
    )


def test_json_line_has_the_same() -> None:
    stream = start(log_format="json")
    with request_id("r1"):
        log.info("sent", count=3, destination="two.test")
    entry = json.loads(stream.getvalue())
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "level": "INFO",
        "target": "conduit_py.service.sending",
        "message": "sent",
        "request_id": "r1",
        "fields": {"count": 3, "destination": "two.test"},
    }


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_others_cannot_forge_a_line(log_format: LogFormat) -> None:
    stream = start(log_format=log_format)
    log.info("hello\nERROR conduit_py: forged \x1b[31m", name="a\r\nb")
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()
    assert "\r" not in stream.getvalue()


def test_traceback_is_below_the_line_and_indented(expect_errors: list[logging.LogRecord]) -> None:
    stream = start()
    try:
        raise KeyError("missing")
    except KeyError:
        log.exception("failed", room="!r")
    first, *below = stream.getvalue().splitlines()
    assert first.endswith("ERROR conduit_py.service.sending: failed room=!r")
    assert below[0] == "    Traceback (most recent call last):"
    assert below[-1] == "    KeyError: 'missing'"
    assert all(line.startswith("    ") for line in below)
    assert len(expect_errors) == 1


def test_traceback_is_a_field_in_json(expect_errors: list[logging.LogRecord]) -> None:
    stream = start(log_format="json")
    try:
        raise KeyError("missing")
    except KeyError:
        log.exception("failed")
    assert json.loads(stream.getvalue())["exception"].endswith("KeyError: 'missing'")
    assert len(expect_errors) == 1


def test_stack_is_shown_when_asked_for() -> None:
    stream = start()
    log.info("here", stack_info=True)
    assert "    Stack (most recent call last):" in stream.getvalue()


def test_arguments_that_do_not_fit_are_shown_and_raise_nothing() -> None:
    record = logging.LogRecord("conduit_py", logging.INFO, "", 1, "%d of %d", ("x",), None)
    assert ScrubbingFilter().filter(record)
    assert record.getMessage() == "%d of %d ('x',)"


async def test_request_id_stays_with_its_task() -> None:
    stream = start()

    async def handle(name: str, *, first: trio.Event, then: trio.Event) -> None:
        with request_id(name):
            first.set()
            await then.wait()
            log.info(name)

    one, two = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: handle("one", first=one, then=two))
        nursery.start_soon(lambda: handle("two", first=two, then=one))
    log.info("after")
    assert sorted(line.partition(": ")[2] for line in without_time(stream)) == [
        "after",
        "one request_id=one",
        "two request_id=two",
    ]


# --- secrets ---


@pytest.mark.parametrize(
    "text",
    [
        f"GET /_matrix/client/v3/sync?access_token={TOKEN}&timeout=0",
        f"GET /sync?since=1&access_token%3D{TOKEN}",
        f"Authorization: Bearer {TOKEN}",
        f"authorization: bearer  {TOKEN}",
        f"Authorization=Bearer%20{TOKEN}",
        f"[(b'authorization', b'Bearer {TOKEN}'), (b'host', b'a.test')]",
        f"{{'access_token': '{TOKEN}', 'device_id': 'D'}}",
        f"{{'access_token': b'{TOKEN}'}}",
        f'{{"access_token":"{TOKEN}","device_id":"D"}}',
        f'"{{\\"access_token\\": \\"{TOKEN}\\"}}"',
        f"[('access_token', '{TOKEN}')]",
        f"refresh_token={TOKEN}",
        f'"password": "{TOKEN}"',
        f'"password": "two words {TOKEN} and \\"{TOKEN}\\""',
        f"as_token: {TOKEN}",
        f"hs_token: '{TOKEN}'",
        f"registration_token={TOKEN}",
        f"accessToken={TOKEN}",
    ],
)
def test_secret_is_scrubbed(text: str) -> None:
    assert TOKEN not in scrub(text)
    assert "(hidden)" in scrub(text)


def test_scrubbing_leaves_the_rest() -> None:
    assert scrub(f"GET /sync?access_token={TOKEN}&timeout=0 200") == "GET /sync?access_token=(hidden)&timeout=0 200"
    assert scrub(f'{{"access_token":"{TOKEN}","user_id":"@a:b"}}') == '{"access_token":(hidden),"user_id":"@a:b"}'
    assert scrub(f"Bearer {TOKEN}, said alice") == "Bearer (hidden), said alice"


@pytest.mark.parametrize(
    "text",
    ["M_UNKNOWN_TOKEN", '{"type": "m.login.password", "user": "alice"}', "the bearer", "wrong password for alice"],
)
def test_text_without_secrets_stays(text: str) -> None:
    assert scrub(text) == text


@given(st.text(), st.from_regex(r"[A-Za-z0-9._~+/-]{20,40}", fullmatch=True), st.text())
def test_token_in_a_query_or_header_never_stays(before: str, token: str, after: str) -> None:
    assert token not in scrub(f"{before}&access_token={token}&{after}")
    assert token not in scrub(f"{before} Bearer {token} {after}")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_part_of_a_record_brings_a_secret(log_format: LogFormat, expect_errors: list[logging.LogRecord]) -> None:
    stream = start(log_format=log_format)
    log.info(f"message access_token={TOKEN}")
    log.info("argument %s", f"Bearer {TOKEN}")
    log.info("dict %s", {"access_token": TOKEN})
    log.info("named %(access_token)s", {"access_token": f"access_token={TOKEN}"})
    log.info("field", headers=[("Authorization", f"Bearer {TOKEN}")], url=f"/sync?access_token={TOKEN}")
    log.info("field by its name", access_token=TOKEN, password=TOKEN)
    try:
        try:
            raise ValueError(f"bad url /sync?access_token={TOKEN}")
        except ValueError as error:
            raise ExceptionGroup("several", [RuntimeError(f"Bearer {TOKEN}")]) from error
    except ExceptionGroup:
        log.exception("traceback")
    assert TOKEN not in stream.getvalue()
    assert stream.getvalue().count("(hidden)") >= 9
    assert len(expect_errors) == 1


def test_record_itself_is_clean_after_it_was_handled() -> None:
    seen: list[logging.LogRecord] = []

    class Later(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    start()
    later = Later()
    logging.getLogger().addHandler(later)
    try:
        log.info("argument %s", f"Bearer {TOKEN}", token=f"access_token={TOKEN}")
    finally:
        logging.getLogger().removeHandler(later)
    fields: object = vars(seen[0])["fields"]
    assert (seen[0].getMessage(), seen[0].args) == ("argument Bearer (hidden)", None)
    assert fields == {"token": "access_token=(hidden)"}
