"""Where settings come from: the file, and environment variables. Each setting knows its place.

Figuring out the line of a value: tomlkit writes a document back exactly as it read it, so the line is the one where a
mark put before the value's key comes out. That costs a second reading, and only when there is something to complain
about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import tomlkit
from tomlkit.container import Container
from tomlkit.exceptions import ParseError, TOMLKitError
from tomlkit.items import AbstractTable, AoT, Array, Item

from conduit_py.config.errors import ConfigError
from conduit_py.config.keys import KEYS, TABLES

ENVIRONMENT_PREFIX = "CONDUIT_"
CONFIG_VARIABLE = "CONDUIT_CONFIG"

_MARK = "\0"  # Not allowed in TOML, so it cannot be there already.

Steps = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A configuration file as it was read."""

    path: Path
    text: str

    def where(self, steps: Steps) -> str:
        """The place of the value that ``steps`` lead to, or of the nearest thing around it that has a line."""
        for end in range(len(steps), 0, -1):
            line = _line_of(self.text, steps[:end])
            if line is not None:
                return f"{self.path}, line {line}"
        return str(self.path)


@dataclass(frozen=True, slots=True)
class Setting:
    """One value and where it stands: in ``file`` where ``steps`` lead, or in the environment variable ``variable``.

    ``text`` is the variable's content as it stands, for keys whose value is text.
    """

    name: str
    value: object
    file: TomlFile | None = None
    steps: Steps = ()
    variable: str = ""
    text: str | None = None

    def where(self, at: Steps = ()) -> str:
        return self.variable if self.file is None else self.file.where((*self.steps, *at))


def read_file(path: Path) -> tuple[TomlFile, dict[str, object]]:
    """The file and its content as plain values. Raises `ConfigError` when it cannot be read or is not TOML."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}, line {line}: is not UTF-8 text") from None
    try:
        return TomlFile(path, text), tomlkit.parse(text).unwrap()
    except ParseError as error:
        # The parser's own text ends in "at line 3 col 7"; columns there count from 0.
        reason = str(error).rpartition(" at line ")[0] or str(error)
        raise ConfigError(f"{path}, line {error.line}, column {error.col + 1}: {reason}") from None
    except TOMLKitError as error:
        raise ConfigError(f"{path}: {error}") from None


def file_settings(file: TomlFile, content: Mapping[str, object]) -> Iterator[Setting]:
    """All settings of a file: those in ``[global]`` and those at its top."""
    for name, value in content.items():
        if name == "global" and isinstance(value, dict):
            yield from _flatten(Setting("", value, file=file, steps=("global",)))
        else:
            yield from _flatten(Setting(name, value, file=file, steps=(name,)))


def environment_settings(environ: Mapping[str, str]) -> Iterator[Setting]:
    """All settings of the environment: ``CONDUIT_PORT``, ``CONDUIT_WELL_KNOWN__CLIENT``, ``CONDUIT_TLS_KEY``."""
    for variable, text in sorted(environ.items()):
        if variable.startswith(ENVIRONMENT_PREFIX) and variable != CONFIG_VARIABLE:
            name = _key_of_variable(variable.removeprefix(ENVIRONMENT_PREFIX).lower())
            yield from _flatten(Setting(name, _toml_or_text(text), variable=variable, text=text))


def _key_of_variable(name: str) -> str:
    """Tables are marked by two underscores; one is understood as well where no key has that name, as in Conduit."""
    dotted = name.replace("__", ".")
    if "." in dotted or name in KEYS:
        return dotted
    return next((known for known in (*KEYS, *TABLES) if known.replace(".", "_") == name), name)


def _toml_or_text(text: str) -> object:
    try:
        return tomlkit.value(text.strip()).unwrap()
    except (TOMLKitError, ValueError):
        return text


def _flatten(setting: Setting) -> Iterator[Setting]:
    """Cut a table into its keys, down to what the table of keys knows; unknown tables stay in one piece."""
    if not isinstance(setting.value, dict) or (setting.name and setting.name not in TABLES):
        yield setting
        return
    for name, value in setting.value.items():
        dotted = f"{setting.name}.{name}" if setting.name else name
        inner = Setting(dotted, value, setting.file, (*setting.steps, name), setting.variable)
        yield from _flatten(inner)


def _line_of(text: str, steps: Steps) -> int | None:
    document = tomlkit.parse(text)
    for item in _first_items(_find(document, steps)):
        item.trivia.indent += _MARK
        before, mark, _ = tomlkit.dumps(document).partition(_MARK)
        if mark:
            return before.count("\n") + 1
    return None


def _find(thing: object, steps: Steps) -> object:
    """The item that ``steps`` lead to from ``thing``, or `None`."""
    if not steps:
        return thing
    inner = (_find(item, steps[1:]) for item in _children(thing, steps[0]))
    return next((found for found in inner if found is not None), None)


def _children(thing: object, step: str | int | None = None) -> Iterator[object]:
    """What is under ``step``, or under any. A table whose parts stand far from each other is there more than once."""
    if isinstance(thing, AbstractTable):
        thing = thing.value
    if isinstance(thing, Container):
        yield from (item for key, item in thing.body if key is not None and step in (None, key.key))
    elif isinstance(thing, AoT):
        yield from (item for place, item in enumerate(thing.body) if step in (None, place))
    elif isinstance(thing, Array):
        yield from (item for place, item in enumerate(list.__iter__(thing)) if step in (None, place))


def _first_items(thing: object) -> Iterator[Item]:
    """The thing itself and, because a table made of dotted names is written nowhere, what comes first inside it."""
    while thing is not None:
        if isinstance(thing, Item):
            yield thing
        thing = next(_children(thing), None)
