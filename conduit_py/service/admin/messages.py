"""Messages in the Admin Room: which of them are commands, and what answers look like.

People write commands in several ways, so several are understood:

- ``@conduit:example.org: help``, as Conduit has it, also where a client puts the display name (``conduit: help``) or a
  link to the account in its place,
- ``!admin help``,
- the command alone, if nobody says such a thing by chance: ``help``, or a name with a hyphen such as ``list-rooms``.

Only text of the first version is a command: no edit, no notice, no emote.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from conduit_py.matrix.house import SERVER_LOCALPART
from conduit_py.matrix.ids import EventId, UserId
from conduit_py.service.admin.commands import Attachment

PREFIX: Final = "!admin"

NOTICE_BYTES_MAX: Final = 8192
"""Of text in one message. As HTML in JSON it takes up to five times as much, and an event may have 64 KiB."""
NOTICES_MAX: Final = 8
"""Messages that one answer is split into. What is longer is cut off."""

_BARE: Final = re.compile(r"help|[a-z]+(?:-[a-z]+)+")
_END: Final = r"(?:\s+|$)"
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Order:
    """A command that somebody wrote, without what it was addressed with."""

    text: str = field(repr=False)
    is_addressed: bool
    """If it is not, it is a command only where there is one of its name."""


class Addressing:
    """How the server's own account is spoken to."""

    def __init__(self, user_id: UserId) -> None:
        self._user_id = user_id
        localpart, _, domain = user_id[1:].partition(":")
        link = rf"\[[^\]]*\]\(https://matrix\.to/#/(?:@|%40){localpart}(?::|%3A){re.escape(domain)}\)"
        ours = rf"{re.escape(user_id)}|{link}"
        self._sure = re.compile(rf"(?:(?:{ours})[:,]?|{PREFIX}:?|{SERVER_LOCALPART}[:,]){_END}", re.IGNORECASE)
        self._by_name = re.compile(rf"{SERVER_LOCALPART}{_END}", re.IGNORECASE)

    def find_order(self, content: Mapping[str, Any]) -> Order | None:
        """What the content of an ``m.room.message`` orders, if it does."""
        relation = content.get("m.relates_to")
        relation = relation if isinstance(relation, dict) else {}
        body = content.get("body")
        if content.get("msgtype") != "m.text" or not isinstance(body, str) or relation.get("rel_type") == "m.replace":
            return None
        text = (_without_quote(body) if "m.in_reply_to" in relation else body).strip()
        found = self._sure.match(text) or (self._by_name.match(text) if self._is_mentioned(content) else None)
        if found is not None:
            return Order(text[found.end() :], is_addressed=True)
        first = text.split(maxsplit=1)[0] if text else ""
        return Order(text, is_addressed=False) if _BARE.fullmatch(first) else None

    def _is_mentioned(self, content: Mapping[str, Any]) -> bool:
        mentions, formatted = content.get("m.mentions"), content.get("formatted_body")
        named = mentions.get("user_ids") if isinstance(mentions, dict) else None
        if isinstance(named, list) and self._user_id in named:
            return True
        return isinstance(formatted, str) and f"https://matrix.to/#/{self._user_id}" in formatted


def _without_quote(body: str) -> str:
    """Older clients quote what they reply to."""
    lines = body.split("\n")
    while lines and lines[0].startswith("> "):
        lines.pop(0)
    return "\n".join(lines)


def build_notices(
    text: str, *, is_table: bool, to: EventId | None = None, thread: EventId | None = None
) -> Iterator[dict[str, Any]]:
    """The contents of the messages that say ``text``, each a reply to the event ``to``, in the thread it is in."""
    for part in _split(_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)):
        content: dict[str, Any] = {"msgtype": "m.notice", "body": part, "m.mentions": {}}
        if is_table:
            content["format"] = "org.matrix.custom.html"
            content["formatted_body"] = f"<pre><code>{html.escape(part, quote=False)}\n</code></pre>"
        yield content | _build_relation(to, thread)


def build_attached(attachment: Attachment, *, to: EventId | None, thread: EventId | None) -> dict[str, Any]:
    """The content of a message with a medium, which clients show as what it is."""
    kind = attachment.content_type.partition("/")[0]
    content = {
        "msgtype": f"m.{kind}" if kind in ("image", "audio", "video") else "m.file",
        "body": attachment.filename,
        "url": attachment.uri,
        "info": {"mimetype": attachment.content_type, "size": attachment.size},
        "m.mentions": {},
    }
    return content | _build_relation(to, thread)


def _build_relation(to: EventId | None, thread: EventId | None) -> dict[str, Any]:
    if to is None:
        return {}
    relation: dict[str, Any] = {"m.in_reply_to": {"event_id": to}}
    if thread is not None:
        relation |= {"rel_type": "m.thread", "event_id": thread, "is_falling_back": True}
    return {"m.relates_to": relation}


def _split(text: str) -> list[str]:
    parts, lines = [""], text.split("\n")
    for number, line in enumerate(lines):
        for start in range(0, max(len(line), 1), _LINE_CHARS_MAX):
            piece = line[start : start + _LINE_CHARS_MAX]
            if parts[-1] and len(f"{parts[-1]}\n{piece}".encode()) > NOTICE_BYTES_MAX:
                if len(parts) == NOTICES_MAX:
                    parts[-1] += f"\n... and {len(lines) - number} more lines: the command line shows them all"
                    return parts
                parts.append(piece)
            else:
                parts[-1] = f"{parts[-1]}\n{piece}" if number or start or parts[-1] else piece
    return parts


_LINE_CHARS_MAX: Final = NOTICE_BYTES_MAX // 4
