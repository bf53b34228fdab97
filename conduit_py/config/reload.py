"""What becomes of a configuration that was changed while the server runs.

The table of keys says which keys can change then. The others keep what they had at start, whatever the file says now.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from conduit_py.config.keys import KEYS
from conduit_py.config.model import Config

_WHOLE: Final = frozenset({"tls", "turn"})
"""Tables that are there or not, and change as one."""

Steps = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reload:
    """``config`` is what holds from now on."""

    config: Config
    changed: tuple[str, ...]
    """Keys that have a new value."""
    waiting: tuple[str, ...]
    """Keys whose new value needs a restart."""


class CurrentConfig:
    """The configuration that is in force, for those who show it as a whole."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def replace(self, config: Config) -> None:
        self.config = config


def merge_reloaded(running: Config, wanted: Config) -> Reload:
    """Take over from ``wanted`` what can change while the server runs."""
    different = [name for name in KEYS if _get(running, name) != _get(wanted, name)]
    waiting = [name for name in different if not _may_change(running, wanted, name)]
    changed = [name for name in different if name not in waiting]
    config = running
    for steps in {_steps(name): None for name in changed}:
        config = _replaced(config, steps, _read(wanted, steps))
    return Reload(config, tuple(changed), tuple(waiting))


def _may_change(running: Config, wanted: Config, name: str) -> bool:
    # A socket that listens cannot begin to speak TLS, nor stop.
    is_tls = name.startswith("tls.")
    return KEYS[name].reload and not (is_tls and (running.tls is None) != (wanted.tls is None))


def _get(config: Config, name: str) -> object:
    return _read(config, tuple(name.split(".")))


def _steps(name: str) -> Steps:
    steps = tuple(name.split("."))
    return steps[:1] if steps[0] in _WHOLE else steps


def _read(section: Any, steps: Steps) -> Any:
    """None where a table is not there."""
    for step in steps:
        section = getattr(section, step, None)
    return section


def _replaced(section: Any, steps: Steps, value: object) -> Any:
    first, *rest = steps
    return replace(section, **{first: _replaced(getattr(section, first), tuple(rest), value) if rest else value})
