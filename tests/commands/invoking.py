"""Commands run as the operator types them, in this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from click.testing import CliRunner, Result

from conduit_py.commands import main


def invoke(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> Result:
    """The result has ``exit_code``, ``stdout`` and ``stderr``; nothing but the end of the process is raised."""
    done = CliRunner().invoke(main, [str(argument) for argument in arguments], env=environment, prog_name="conduit_py")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done
