from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conduit_py import __version__
from tests.zipapp.building import ROOT, build_zipapp, copy_checkout
from tests.zipapp.user import FreshUser, make_user

NEXT_VERSION = "999.0"
READY_MADE = "ZIPAPP"
"""The variable that names a file to be tested, in place of a new one."""


@pytest.fixture(scope="session")
def shared() -> Iterator[Path]:
    """A directory that everybody may read."""
    folder = Path(tempfile.mkdtemp(prefix="conduit_py-shared-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def wheels(shared: Path) -> Path:
    """Where the builds of this run keep what they download."""
    return Path(os.environ.get("ZIPAPP_WHEELS") or shared / "wheels")


@pytest.fixture(scope="session")
def zipapp(shared: Path, wheels: Path) -> Path:
    """The file, as the documented command builds it from this checkout."""
    file = shared / "conduit_py.pyz"
    if READY_MADE in os.environ:
        shutil.copy(os.environ[READY_MADE], file)
    else:
        build_zipapp(ROOT, file, wheels)
    return file


@pytest.fixture(scope="session")
def next_zipapp(shared: Path, wheels: Path) -> Path:
    """The file of the next version."""
    checkout = copy_checkout(shared / "next")
    project = checkout / "pyproject.toml"
    text = project.read_text()
    assert text.count(f'version = "{__version__}"') == 1
    project.write_text(text.replace(f'version = "{__version__}"', f'version = "{NEXT_VERSION}"'))
    file = shared / "next.pyz"
    build_zipapp(checkout, file, wheels)
    return file


@pytest.fixture
def user() -> Iterator[FreshUser]:
    with make_user() as fresh:
        yield fresh
