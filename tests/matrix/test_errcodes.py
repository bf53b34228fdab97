"""The errcodes are those of the specification."""

from __future__ import annotations

import re
from pathlib import Path

from conduit_py.matrix.errcodes import Errcode


def test_errcode_is_spelled_on_the_wire_as_in_code() -> None:
    assert all(code.name == code.value for code in Errcode)
    assert f"{Errcode.M_FORBIDDEN}" == "M_FORBIDDEN"


def test_every_errcode_of_the_openapi_files_is_known(spec_dir: Path) -> None:
    files = list((spec_dir / "api").rglob("*.yaml"))
    named = {name for file in files for name in re.findall(r"\bM_[A-Z][A-Z_]+\b", file.read_text())}
    assert len(named) > 40
    assert named - {code.value for code in Errcode} - {"M_EXAMPLE_ERROR"} == set()
