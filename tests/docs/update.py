"""``python -m tests.docs.update`` writes what is generated from the table of keys."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from conduit_py.config import render_sample
from conduit_py.config.reference import render_reference
from tests.docs.pages import DOCS, ROOT

GENERATED: Final = {ROOT / "conduit.toml.sample": render_sample, DOCS / "configuration.md": render_reference}


def write(path: Path) -> None:
    path.write_text(GENERATED[path](), encoding="utf-8")


if __name__ == "__main__":
    for generated in GENERATED:
        write(generated)
