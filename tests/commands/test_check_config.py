"""``check-config`` finds what the server would refuse, and says so before it is started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.commands.invoking import invoke


def check(folder: Path, *lines: str, arguments: tuple[str, ...] = ()) -> tuple[int, str, str]:
    config = folder / "conduit.toml"
    database = "" if any(line.startswith("database_path") for line in lines) else f'database_path = "{folder}/data"\n'
    config.write_text(f'server_name = "one.test"\n{database}' + "\n".join(lines))
    done = invoke("check-config", "-c", config, *arguments)
    return done.exit_code, done.stdout, done.stderr


def test_right_configuration(tmp_path: Path) -> None:
    code, said, complaints = check(tmp_path)
    assert (code, complaints) == (0, "")
    assert said == f"{tmp_path}/conduit.toml is right: server_name one.test, data in {tmp_path}/data\n"
    assert not (tmp_path / "data").exists()


def test_what_is_odd_is_said_and_does_not_fail(tmp_path: Path) -> None:
    code, _, complaints = check(tmp_path, "prot = 6167", "rocksdb_max_open_files = 20", "allow_registration = true")
    assert code == 0
    assert "there is no key prot (did you mean port?)" in complaints
    assert "note: " in complaints
    assert "rocksdb_max_open_files has no effect" in complaints
    assert "everybody can register" in complaints


def test_every_wrong_value_is_said(tmp_path: Path) -> None:
    code, said, complaints = check(tmp_path, 'port = "many"', "max_request_size = -1")
    assert (code, said) == (1, "")
    assert [line.split(": ")[1].split()[0] for line in complaints.splitlines()] == ["port", "max_request_size"]


def test_database_of_another_server(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "homeserver.db").touch()
    code, _, complaints = check(tmp_path)
    assert code == 1
    assert "holds the SQLite database of Synapse" in complaints


def test_file_where_a_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, complaints = check(tmp_path, f'database_path = "{tmp_path}/file/data"')
    assert code == 1
    assert f"{tmp_path}/file is not a directory" in complaints


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_directory_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    code, _, complaints = check(tmp_path, f'media.path = "{tmp_path}/closed/media"')
    assert code == 1
    assert complaints == f"media.path {tmp_path}/closed/media: {tmp_path}/closed is not writable by this user\n"


def test_certificate_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("not a certificate")
    files = f'tls.certs = "{tmp_path}/cert.pem"', f'tls.key = "{tmp_path}/key.pem"'
    code, _, complaints = check(tmp_path, *files)
    assert code == 1
    assert complaints.startswith(f"tls.certs {tmp_path}/cert.pem and tls.key {tmp_path}/key.pem cannot be used: ")


def test_settings_in_force_are_shown_without_secrets(tmp_path: Path) -> None:
    code, said, _ = check(tmp_path, "port = 6167", 'registration_token = "do not tell"', arguments=("--show",))
    assert code == 0
    assert "\nport = 6167\n" in said
    assert "\nregistration_token = (hidden)\n" in said
