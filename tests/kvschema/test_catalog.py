"""What is stored where is agreed on: every change of it is a difference of the golden file."""

from __future__ import annotations

import os
from pathlib import Path

from kvschema.catalog import CATALOG, RETIRED, SCHEMA_VERSION
from kvschema.migrate import STEPS
from tests.kvschema.strategies import DECLARED, AnyTree

GOLDEN = Path(__file__).parent / "golden" / "catalog.txt"
HEADER = "# Written by the tests with UPDATE_GOLDEN=1. A changed line asks: does this need a migration?\n\n"


def described(tree: AnyTree) -> str:
    lines = [f"{tree.name}  (since {tree.since}{', append' * tree.append})", f"    {tree.spec}"]
    if tree.value.shape:
        lines.append(f"    {{{tree.value.shape}}}")
    if tree.derived:
        lines.append(f"    from {tree.derived}")
    return "\n".join(lines) + "\n"


def test_catalog_is_the_agreed_one() -> None:
    now = HEADER + "".join(described(tree) for tree in sorted(CATALOG, key=lambda tree: tree.name))
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(now)
    assert now == GOLDEN.read_text(), "if the change is meant, run this test with UPDATE_GOLDEN=1 and commit the file"


def test_every_declared_tree_is_listed() -> None:
    assert {name for name, (tree, _) in DECLARED.items() if tree not in CATALOG} == set()
    assert len(DECLARED) == len(CATALOG), "a tree is listed that no annotated constant declares"


def test_names_are_distinct_and_never_reused() -> None:
    names = [tree.name for tree in CATALOG]
    assert sorted(names) == sorted(set(names))
    assert set(names).isdisjoint(RETIRED)


def test_trees_were_introduced_by_a_known_version() -> None:
    assert [tree.name for tree in CATALOG if not 1 <= tree.since <= SCHEMA_VERSION] == []


def test_every_version_after_the_first_has_a_migration() -> None:
    assert sorted(STEPS) == list(range(2, SCHEMA_VERSION + 1))


def test_derived_trees_name_trees_that_exist() -> None:
    names = {tree.name for tree in CATALOG}
    sources = {tree.name: tree.derived.split(", ") for tree in CATALOG if tree.derived}
    assert {name: source for name, source in sources.items() if not names.issuperset(source)} == {}


def test_appended_keys_rise() -> None:
    """Only keys that begin with a number handed out in rising order gain by being appended."""
    appended = [tree for tree in CATALOG if tree.append]
    assert [tree.name for tree in appended if tree.key.parts[0].spec not in ("u64", "i64")] == []
