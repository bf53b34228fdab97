"""Registration files of application services: read with the configuration, and refused with their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conduit_py.config import ConfigError, load_config

YAML = """
id: irc
url: "http://127.0.0.1:1234"
as_token: {token}
hs_token: SECRET
sender_localpart: _irc_bot
namespaces:
  users: [{{regex: "@_irc_.*", exclusive: true}}]
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def load(*paths: Path) -> Any:
    names = ", ".join(f'"{path}"' for path in paths)
    return load_config(None, {"CONDUIT_SERVER_NAME": "one.test", "CONDUIT_APPSERVICES": f"[{names}]"}).config


def test_files_are_read(tmp_path: Path) -> None:
    one = write(tmp_path, "one.yaml", YAML.format(token="A"))
    two = write(tmp_path, "two.yaml", YAML.format(token="B").replace("id: irc", "id: other"))
    config = load(one, two)
    assert [it.id for it in config.appservices] == ["irc", "other"]
    assert 'appservices = ["irc", "other"]' in config.describe()
    assert "SECRET" not in config.describe()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("id: [", "which is YAML"),
        ("id: irc", "namespaces must be a table"),
        (YAML.format(token="A").replace("@_irc_.*", "("), "is no regular expression"),
    ],
)
def test_file_that_is_no_registration_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load(write(tmp_path, "one.yaml", text))


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "one.yaml")


@pytest.mark.parametrize(("changes", "complaint"), [({"token": "B"}, "same id"), ({"token": "A"}, "same as_token")])
def test_ids_and_tokens_are_unique(tmp_path: Path, changes: dict[str, str], complaint: str) -> None:
    one = write(tmp_path, "one.yaml", YAML.format(token="A"))
    other = YAML.format(**changes)
    two = write(tmp_path, "two.yaml", other if "id" in complaint else other.replace("id: irc", "id: other"))
    with pytest.raises(ConfigError, match=complaint):
        load(one, two)
