"""What the one file is made of fits what the project asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.zipapp.pythons import NEW

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RECIPE = (ROOT / ".ci" / "zipapp").read_text()


def read_lock() -> dict[str, tuple[str, int]]:
    """Version and number of wheels, by name."""
    entries = re.split(r"\n(?=\w)", (ROOT / ".ci" / "zipapp.txt").read_text())[1:]
    found: dict[str, tuple[str, int]] = {}
    for entry in entries:
        name, _, rest = entry.partition("==")
        found[canonicalize_name(name)] = rest.split()[0], rest.count("--hash=sha256:")
    return found


def test_every_dependency_is_locked_in_a_version_that_fits() -> None:
    locked = read_lock()
    for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["tracing"]):
        wanted = Requirement(text)
        version, wheels = locked[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(version), f"{text} is locked to {version}: run .ci/zipapp --lock"
        assert wheels > 0


def test_native_dependencies_are_there_for_every_python_and_machine() -> None:
    locked = read_lock()
    for name in ("lmdb", "orjson", "msgpack", "pillow", "pyyaml", "cffi"):
        assert locked[name][1] == len(NEW) * 2
    for name in ("pynacl", "argon2-cffi-bindings"):
        assert locked[name][1] == 2, f"{name} is the same for every Python"


def test_pythons_are_those_that_the_project_allows() -> None:
    assert f"PYTHONS=({' '.join(NEW)})" in RECIPE
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert all(allowed.contains(version) for version in NEW)
    assert not allowed.contains("3.10")
