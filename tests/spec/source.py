"""Where the Matrix specification's data is found, and the list of its operations.

The data (OpenAPI files, event schemas, ``endpoints.tsv``) belongs to the specification and is not part of this
repository. It is looked for at ``MATRIX_SPEC_DIR``, else beside the repository in ``shared/spec``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "ROOT",
    "SPEC_IS_ABSENT",
    "Operation",
    "find_spec_dir",
    "load_operations",
]

ROOT = Path(__file__).parents[2]

SPEC_IS_ABSENT = (
    "the Matrix specification's data is not here, so nothing was compared with it: "
    "set MATRIX_SPEC_DIR to the folder that holds endpoints.tsv, api/ and event-schemas/"
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the specification."""

    api: str
    """``client-server``, ``server-server``, ``application-service`` or ``push-gateway``."""
    file: str
    """Name of the OpenAPI file under ``api/<api>/``."""
    id: str
    """``operationId``: unique within an API, and only there."""
    method: str
    path: str
    """Path template with the version it was last specified under: ``/_matrix/client/v3/rooms/{roomId}/send/...``."""

    @property
    def module(self) -> str:
        """Name of the module that answers it: ``joins-v1.yaml`` is ``joins_v1``."""
        return self.file.removesuffix(".yaml").replace("-", "_")


def find_spec_dir() -> Path | None:
    """The folder with ``endpoints.tsv``, or ``None``. A folder that was named and is not there is an error."""
    named = os.environ.get("MATRIX_SPEC_DIR")
    folder = Path(named) if named else ROOT.parent / "shared" / "spec"
    if (folder / "endpoints.tsv").is_file():
        return folder
    if named:
        raise FileNotFoundError(f"MATRIX_SPEC_DIR is {named}, and no endpoints.tsv is there")
    return None


def load_operations(spec_dir: Path) -> list[Operation]:
    """Every operation of ``endpoints.tsv``, in its order."""
    header, *lines = (spec_dir / "endpoints.tsv").read_text().splitlines()
    names = header.split("\t")
    rows = [dict(zip(names, line.split("\t"), strict=True)) for line in lines]
    return [Operation(row["api"], row["file"], row["operationId"], row["method"], row["path"].rstrip()) for row in rows]
