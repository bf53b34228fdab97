"""How a case says which rule it passes or breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from conduit_py.matrix.auth import Verdict
from tests.matrix.auth.rig import Rig

EVERY_VERSION = range(1, 13)


@dataclass(frozen=True, slots=True)
class Case:
    rule: str
    """The rule that this case is about, by its name in the outline."""
    name: str
    denied_by: str | None
    """``None``: the case passes. Otherwise the rule that speaks the denial: ``rule``, or where that one allows, the one
    that takes over."""
    attempt: Callable[[Rig], Verdict]
    versions: range


def passes(rule: str, name: str, attempt: Callable[[Rig], Verdict], *, versions: range = EVERY_VERSION) -> Case:
    return Case(rule, name, None, attempt, versions)


def breaks(
    rule: str,
    name: str,
    attempt: Callable[[Rig], Verdict],
    *,
    caught_by: str | None = None,
    versions: range = EVERY_VERSION,
) -> Case:
    return Case(rule, name, caught_by or rule, attempt, versions)
