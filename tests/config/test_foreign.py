"""The database of another server is recognized, and our own is not taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from conduit_py.config import find_foreign_database


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(b"x")


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("db", "conf", "blobs/", "snap.0000000000001B5E"), "sled"),
        (("conf", "snap.0000000000001B5E"), "sled"),
        (("conduit.db", "conduit.db-wal", "conduit.db-shm", "media/"), "SQLite"),
        (("homeserver.db",), "SQLite"),
        (("CURRENT", "IDENTITY", "LOCK", "MANIFEST-000005", "000012.sst", "media/"), "RocksDB"),
        (("CURRENT", "MANIFEST-000005"), "RocksDB"),
        (("000012.sst",), "RocksDB"),
        (("data.mdb", "lock.mdb"), "LMDB database of an old Conduit"),
        (("db.persy",), "Persy"),
    ],
)
def test_foreign_database_is_named_with_what_to_do(tmp_path: Path, names: tuple[str, ...], kind: str) -> None:
    make(tmp_path, *names)
    before = sorted(tmp_path.iterdir())
    sentence = find_foreign_database(tmp_path)
    assert sentence is not None
    assert sentence.startswith(f"database_path {tmp_path} holds ")
    assert kind in sentence
    assert "cannot be converted" in sentence
    assert "Set database_path to an empty directory" in sentence
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("media/",),
        ("db/data.mdb", "db/lock.mdb", "media/"),
        ("db/", "conf"),
        ("CURRENT",),
        ("lost+found/", "README"),
    ],
)
def test_our_own_and_empty_directories_are_fine(tmp_path: Path, names: tuple[str, ...]) -> None:
    make(tmp_path, *names)
    assert find_foreign_database(tmp_path) is None


def test_directory_that_is_absent_is_fine(tmp_path: Path) -> None:
    assert find_foreign_database(tmp_path / "nowhere") is None


def test_file_in_place_of_the_directory_is_told(tmp_path: Path) -> None:
    sqlite, other = tmp_path / "a.db", tmp_path / "b"
    sqlite.write_bytes(b"SQLite format 3\0" + bytes(84))
    other.write_text("hello")
    assert "is a SQLite database, not a directory" in (find_foreign_database(sqlite) or "")
    assert "is a file, not a directory" in (find_foreign_database(other) or "")
