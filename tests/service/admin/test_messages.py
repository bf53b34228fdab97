"""Which messages are commands, and what answers look like."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from conduit_py.matrix.ids import EventId, UserId
from conduit_py.service.admin.messages import NOTICE_BYTES_MAX, NOTICES_MAX, Addressing, Order, build_notices

ADDRESSING = Addressing(UserId("@conduit:one.test"))
PILL = '<a href="https://matrix.to/#/@conduit:one.test">conduit</a> help'


def find(body: str, **content: Any) -> Order | None:
    return ADDRESSING.find_order({"msgtype": "m.text", "body": body, **content})


@pytest.mark.parametrize(
    "body",
    [
        "@conduit:one.test: help",
        "@conduit:one.test help",
        "@conduit:one.test:\nhelp",
        "conduit: help",
        "Conduit, help",
        "!admin help",
        "  !admin\thelp ",
        "[conduit](https://matrix.to/#/@conduit:one.test): help",
        "[@conduit:one.test](https://matrix.to/#/%40conduit%3Aone.test) help",
    ],
)
def test_command_is_addressed_in_many_ways(body: str) -> None:
    assert find(body) == Order("help", is_addressed=True)


def test_display_name_alone_addresses_where_it_is_a_mention() -> None:
    mentions = {"user_ids": ["@conduit:one.test"]}
    assert find("conduit help", **{"m.mentions": mentions}) == Order("help", is_addressed=True)
    assert find("conduit help", formatted_body=PILL) == Order("help", is_addressed=True)
    assert find("conduit help is near") is None
    assert find("conduit help", **{"m.mentions": {"user_ids": ["@bob:one.test"]}}) is None


@pytest.mark.parametrize("body", ["help", "list-rooms", "deactivate-user @bob:one.test"])
def test_command_that_is_no_sentence_needs_no_address(body: str) -> None:
    assert find(body) == Order(body, is_addressed=False)


@pytest.mark.parametrize(
    "body",
    ["", "   ", "hello", "helpful", "I need help", "@conduit:two.test: help", "!administrator help", "conduits: help",
     "@conduit:one.test.org help", "verify that"],
)  # fmt: skip
def test_talk_is_no_command(body: str) -> None:
    assert find(body) is None


@pytest.mark.parametrize("msgtype", ["m.notice", "m.emote", "m.image", None])
def test_only_text_is_a_command(msgtype: str | None) -> None:
    assert find("!admin help", msgtype=msgtype) is None


@pytest.mark.parametrize("body", [None, 3, ["!admin help"]])
def test_body_that_is_no_text_is_no_command(body: Any) -> None:
    assert find(body) is None


def test_edit_is_no_command() -> None:
    assert find("!admin help", **{"m.relates_to": {"rel_type": "m.replace", "event_id": "$x"}}) is None
    assert find("!admin help", **{"m.relates_to": "nonsense"}) == Order("help", is_addressed=True)


def test_quote_of_what_is_replied_to_is_left_out() -> None:
    reply = {"m.relates_to": {"m.in_reply_to": {"event_id": "$x"}}}
    quoted = "> <@conduit:one.test> Found 2 rooms\n> one\n\n!admin help"
    assert find(quoted, **reply) == Order("help", is_addressed=True)
    assert find(quoted) is None


def test_code_block_stays_with_the_command() -> None:
    order = find("@conduit:one.test: register-appservice\n```\nid: x\n```")
    assert order == Order("register-appservice\n```\nid: x\n```", is_addressed=True)


def test_answer_is_a_notice_in_reply() -> None:
    [content] = build_notices("a <b>\nc", is_table=True, to=EventId("$command"))
    assert content == {
        "msgtype": "m.notice",
        "body": "a <b>\nc",
        "m.mentions": {},
        "format": "org.matrix.custom.html",
        "formatted_body": "<pre><code>a &lt;b&gt;\nc\n</code></pre>",
        "m.relates_to": {"m.in_reply_to": {"event_id": "$command"}},
    }


def test_answer_to_a_thread_stays_in_it() -> None:
    [content] = build_notices("yes", is_table=False, to=EventId("$command"), thread=EventId("$root"))
    assert content["m.relates_to"] == {
        "m.in_reply_to": {"event_id": "$command"},
        "rel_type": "m.thread",
        "event_id": "$root",
        "is_falling_back": True,
    }


def test_long_answer_is_split_between_lines() -> None:
    lines = [f"@user{number}:one.test" for number in range(1000)]
    parts = [content["body"] for content in build_notices("\n".join(lines), is_table=True)]
    assert len(parts) > 1
    assert "\n".join(parts).split("\n") == lines
    assert max(len(part.encode()) for part in parts) <= NOTICE_BYTES_MAX


def test_answer_without_end_is_cut_off() -> None:
    parts = [content["body"] for content in build_notices("\n".join(["x" * 99] * 10_000), is_table=True)]
    assert len(parts) == NOTICES_MAX
    assert parts[-1].endswith("more lines: the command line shows them all")


@pytest.mark.parametrize(
    "text", ["<" * 100_000, '"' * 100_000, "\0" * 100_000, "\N{GRINNING FACE}" * 50_000, "\n" * 99_999]
)
def test_no_message_is_too_large_for_an_event(text: str) -> None:
    for content in build_notices(text, is_table=True, to=EventId("$" + "x" * 43)):
        assert len(orjson.dumps(content)) < 60_000
