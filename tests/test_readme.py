"""The two commands of the README are what people run, and what the gate runs."""

from __future__ import annotations

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
GATE = ROOT / ".ci" / "run"


def commands() -> list[str]:
    return re.findall(r"^```sh\n(.*?)\n```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def test_readme_has_one_command_to_start_and_one_to_test() -> None:
    start, test = commands()
    assert start.endswith("/conduit_py")
    assert "pytest" in test
    assert "\n" not in start + test


def test_gate_runs_the_test_command_of_the_readme() -> None:
    assert commands()[1] in GATE.read_text().splitlines()


def test_gate_can_be_run() -> None:
    assert os.access(GATE, os.X_OK)


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
