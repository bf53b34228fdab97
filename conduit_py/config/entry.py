"""What is said about one key of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from conduit_py.config.kinds import Kind

TomlValue = str | int | float | bool | list[object] | dict[str, object]


@dataclass(frozen=True, slots=True)
class Key:
    """One key. ``default`` is a TOML value, ``doc`` what it does, in which unit, and why the default is what it is."""

    name: str
    kind: Kind
    default: TomlValue
    doc: str
    reload: bool = False
    """Whether it can change while the server runs, on SIGHUP."""


@dataclass(frozen=True, slots=True)
class Section:
    """Keys that belong together for the reader of the sample; it has no meaning in the file."""

    title: str
    keys: tuple[Key, ...]
