"""``generate-config`` writes the sample, and over nothing."""

from __future__ import annotations

from pathlib import Path

from conduit_py.config import render_sample
from tests.commands.invoking import invoke


def test_sample_goes_to_standard_output() -> None:
    done = invoke("generate-config")
    assert (done.exit_code, done.stdout) == (0, render_sample())


def test_sample_goes_to_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "conduit.toml"
    assert invoke("generate-config", path).exit_code == 0
    assert path.read_text() == render_sample()
    assert path.stat().st_mode & 0o777 == 0o600
    assert invoke("check-config", "-c", path).exit_code == 0


def test_file_that_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "conduit.toml"
    path.write_text("mine")
    done = invoke("generate-config", path)
    assert done.exit_code == 1
    assert done.stderr == f"{path} is there already; nothing was written\n"
    assert path.read_text() == "mine"


def test_file_that_cannot_be_written(tmp_path: Path) -> None:
    done = invoke("generate-config", tmp_path / "missing" / "conduit.toml")
    assert done.exit_code == 1
    assert done.stderr.endswith("cannot be written: No such file or directory\n")
