"""The reference of all keys for people, made from the table of keys: ``docs/configuration.md``."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from conduit_py.config.entry import Key
from conduit_py.config.keys import SECTIONS
from conduit_py.config.odd_keys import MEANINGLESS, NOT_YET, RENAMED
from conduit_py.config.sample import toml_text

_WIDTH = 120

_HEAD = """\
# Configuration

Every key that `conduit.toml` may have, with its default. This page is generated from the code by
`python -m tests.docs.update`. `conduit_py generate-config` prints the same as a file to start from, and
`conduit_py check-config` says what is wrong with yours, and where.

- The file is named with `--config`, or in the variable `CONDUIT_CONFIG`. Without one, all defaults hold.
- Keys stand in `[global]` or at the top of the file. A dot in a name is a table: `tls.certs` is `certs` in
  `[global.tls]`, or just `tls.certs`.
- Variables win over the file: `CONDUIT_PORT` for `port`, `CONDUIT_TLS__CERTS` for `tls.certs`.
- A key set to `""` counts as not set. A time is a number of seconds or text such as `"12h"`, `"30d"` or `"2months"`; a
  size is a number of bytes or text such as `"500 MB"` or `"15GiB"`.
- Keys marked *reloaded* change while the server runs when it gets SIGHUP; all others need a restart, and the log names
  those that wait for one: see [monitoring.md](monitoring.md#change-settings-while-it-runs).
- A key that does not exist is warned of and passed over. What is wrong is refused with its line.
"""


def render_reference() -> str:
    """The text of ``docs/configuration.md``."""
    parts = [_HEAD]
    for section in SECTIONS:
        parts += [f"## {section.title}\n", *map(_entry, section.keys)]
    parts.append("## Older names that are still understood\n")
    parts.append(_listing({old: f"now `{new}`" for old, new in RENAMED.items()}))
    parts.append("## Keys of Conduit that are accepted and have no effect\n")
    parts.append(_listing(MEANINGLESS))
    return "\n".join(parts)


def _entry(key: Key) -> str:
    default = "not set" if key.default == "" else f"`{_one_line(key)}`"
    facts = f"{_escaped(key.kind.name[0].upper() + key.kind.name[1:])}. Default: {default}."
    if key.reload:
        facts += " *Reloaded.*"
    lines = [f"### {key.name}", "", *_wrapped(_escaped(key.doc)), ""]
    if key.name in NOT_YET:
        lines += [*_wrapped(f"**Not usable yet**: {NOT_YET[key.name]}."), ""]
    return "\n".join([*lines, facts, ""])


def _one_line(key: Key) -> str:
    return " ".join(line.strip().removeprefix("#").strip() for line in toml_text(key.default).splitlines())


def _escaped(text: str) -> str:
    """Wildcards and the like are text here."""
    return text.replace("*", r"\*").replace("<", r"\<")


def _wrapped(text: str) -> Iterator[str]:
    yield from wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _listing(entries: dict[str, str]) -> str:
    return "".join(f"- `{name}`: {text}\n" for name, text in entries.items())
