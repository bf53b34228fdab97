"""The sample configuration, made from the table of keys: every key, commented out, at its default."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import wrap

import tomlkit

from conduit_py.config.entry import Key, TomlValue
from conduit_py.config.keys import SECTIONS
from conduit_py.config.odd_keys import MEANINGLESS, NOT_YET, RENAMED

_WIDTH = 100

_HEAD = """\
Configuration of conduit_py. Name this file in CONDUIT_CONFIG or with --config.

Every key is here with its default. A # directly before a key comments it out: take it away and change the value. \
A key set to "" counts as not set.

Keys may stand in [global] or at the top of the file. A name with a dot is a key in a table, so tls.certs may just as \
well be certs in [global.tls].

Environment variables win over this file: CONDUIT_PORT for port, CONDUIT_TLS__CERTS for tls.certs.

A time is a number of seconds or text such as "12h", "30d" or "2months". A size is a number of bytes or text such as \
"500 MB" or "15GiB"."""


def render_sample() -> str:
    """The text of ``conduit.toml.sample``."""
    lines = [*_paragraphs(_HEAD.split("\n\n")), "[global]"]
    for section in SECTIONS:
        lines += ["", "", f"# ---- {section.title} ----"]
        for key in section.keys:
            lines += ["", *_entry(key)]
    lines += ["", "", "# ---- Keys of Conduit that are accepted and have no effect ----", ""]
    lines += _listing(MEANINGLESS)
    lines += ["", "", "# ---- Older names that are still understood ----", ""]
    lines += _listing({old: f"now {new}" for old, new in RENAMED.items()})
    return "\n".join(lines) + "\n"


def toml_text(value: TomlValue) -> str:
    """A value as it is written in a TOML file, on one line as long as it is not a long list."""
    match value:
        case dict():
            return "{" + ", ".join(f"{name} = {toml_text(item)}" for name, item in _items(value)) + "}"
        case list():
            items = [toml_text(item) for item in _list(value)]
            line = f"[{', '.join(items)}]"
            return line if len(line) < _WIDTH else "[\n" + "".join(f"#  {item},\n" for item in items) + "#]"
        case _:
            return str(tomlkit.item(value).as_string())


def _items(table: dict[str, object]) -> Iterator[tuple[str, TomlValue]]:
    for name, item in table.items():
        assert isinstance(item, str | int | float | bool | list | dict)
        yield name, item


def _list(items: list[object]) -> Iterator[TomlValue]:
    for item in items:
        assert isinstance(item, str | int | float | bool | list | dict)
        yield item


def _entry(key: Key) -> Iterator[str]:
    yield from _comment(key.doc)
    if key.name in NOT_YET:
        yield from _comment(f"Not usable yet: {NOT_YET[key.name]}.")
    else:
        yield from _comment(f"({key.kind.name}{', reloaded on SIGHUP' if key.reload else ''})")
    yield f"#{key.name} = {toml_text(key.default)}"


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}" for line in wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False))


def _paragraphs(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from _comment(text)
        yield ""


def _listing(entries: dict[str, str]) -> Iterator[str]:
    return (f"# {name}: {text}" for name, text in entries.items())
