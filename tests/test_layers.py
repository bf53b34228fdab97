"""The layers of ``pyproject.toml`` hold, and each contract finds what it is there to find."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"

PLANTS = {
    "Layers": ("conduit_py/data/planted.py", "import conduit_py.service"),
    "Matrix rules are sans-IO": ("conduit_py/matrix/planted.py", "import trio"),
    "The schema stands alone": ("kvschema/planted.py", "import conduit_py.matrix"),
    "kvschema layers": ("kvschema/errors.py", "import kvschema.engine"),
    "Handlers reach storage only through services": ("conduit_py/api/planted.py", "import conduit_py.data"),
    "No cycles between siblings": ("conduit_py/service/planted.py", "import conduit_py.service.planted_too"),
    "Only the engine knows LMDB": ("conduit_py/storage/planted.py", "import lmdb"),
}
"""Per contract a module and a line in it that breaks it."""


def lint_imports(folder: Path) -> tuple[int, str]:
    """Run in a process of its own: a contract reads the packages as they lie in ``folder``, not as imported here."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"}
    command = [sys.executable, "-c", LINT, "--no-cache"]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout


def test_layers_hold() -> None:
    status, report = lint_imports(ROOT)
    assert status == 0, report


def broken_contracts(report: str) -> set[str]:
    return {line.removesuffix(" BROKEN") for line in report.splitlines() if line.endswith(" BROKEN")}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the contracts read."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in ("conduit_py", "kvschema"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_every_contract_finds_its_violation(copy: Path) -> None:
    for module, line in PLANTS.values():
        path = copy / module
        path.write_text(f"{path.read_text() if path.exists() else ''}\n{line}\n")
    (copy / "conduit_py/service/planted_too.py").write_text("import conduit_py.service.planted\n")
    status, report = lint_imports(copy)
    assert status == 1
    assert broken_contracts(report) == set(PLANTS), report
