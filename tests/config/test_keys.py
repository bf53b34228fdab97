"""The table of keys, the dataclasses and the sample file say the same."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import tomlkit

from conduit_py.config import Config, load_config, model, render_sample
from conduit_py.config.keys import KEYS, SECTIONS, TABLES
from conduit_py.config.odd_keys import MEANINGLESS, NOT_YET, RENAMED
from conduit_py.config.source import TomlFile, file_settings
from tests.config.files import load

SAMPLE = Path(__file__).parents[2] / "conduit.toml.sample"


def uncommented(text: str) -> str:
    return re.sub(r"^#(?! )|^#(?=  )", "", text, flags=re.MULTILINE)


def field_names(part: type, prefix: str = "") -> set[str]:
    """Dotted names of the fields, down into dataclasses that are tables of keys."""
    names: set[str] = set()
    hints = get_type_hints(part, vars(model))
    for field in fields(part):
        name = f"{prefix}{field.name}"
        inner = [kind for kind in (hints[field.name], *get_args(hints[field.name])) if is_dataclass(kind)]
        names |= field_names(inner[0], f"{name}.") if inner and name in TABLES else {name}  # type: ignore[arg-type]
    return names


def test_sample_is_made_from_the_table() -> None:
    assert SAMPLE.read_text(encoding="utf-8") == render_sample()


def test_sample_has_every_key_and_no_other() -> None:
    text = uncommented(SAMPLE.read_text(encoding="utf-8"))
    settings = list(file_settings(TomlFile(SAMPLE, text), tomlkit.parse(text).unwrap()))
    assert [setting.name for setting in settings] == list(KEYS)


def test_sample_without_comments_gives_the_defaults(tmp_path: Path) -> None:
    loaded = load(tmp_path, uncommented(SAMPLE.read_text(encoding="utf-8")))
    assert loaded.config == load_config(None, {}).config
    assert (loaded.warnings, loaded.notes) == ([], [])


def test_sample_as_it_stands_sets_nothing(tmp_path: Path) -> None:
    assert tomlkit.parse(SAMPLE.read_text(encoding="utf-8")).unwrap() == {"global": {}}


def test_sample_names_what_has_no_effect() -> None:
    text = SAMPLE.read_text(encoding="utf-8")
    assert [name for name in (*MEANINGLESS, *RENAMED) if f"# {name}: " not in text] == []


def test_config_has_a_field_for_each_key() -> None:
    of_s3 = field_names(model.S3, "media.")
    assert (field_names(Config) - {"media.s3"}) | of_s3 == set(KEYS)


def test_keys_are_unique() -> None:
    assert len(KEYS) == sum(len(section.keys) for section in SECTIONS)
    assert not set(KEYS) & TABLES
    assert not set(KEYS) & (set(MEANINGLESS) | set(RENAMED))


def test_names_in_the_other_tables_are_keys() -> None:
    assert set(NOT_YET) <= set(KEYS)
    assert set(RENAMED.values()) <= set(KEYS)


@pytest.mark.parametrize("name", KEYS)
def test_key_is_described_in_sentences(name: str) -> None:
    doc = KEYS[name].doc
    assert doc[0].isupper() or doc.startswith("s3: ")
    assert doc.endswith(".")


@pytest.mark.parametrize(
    "name",
    [
        "address", "port", "tls.certs", "tls.key", "server_name", "database_path", "db_cache_capacity_mb",
        "enable_lightning_bolt", "max_request_size", "max_concurrent_requests", "max_fetch_prev_events",
        "allow_registration", "registration_token", "openid_token_ttl", "allow_encryption", "allow_federation",
        "allow_room_creation", "allow_unstable_room_versions", "default_room_version", "well_known.client",
        "well_known.server", "allow_jaeger", "tracing_flame", "proxy", "jwt_secret", "trusted_servers", "log",
        "turn.uris", "turn.ttl", "turn.secret", "turn.username", "turn.password", "ignored_keys", "media.backend",
        "media.path", "media.directory_structure", "media.retention", "media.endpoint", "media.bucket",
        "media.region", "media.key", "media.secret", "media.duration", "media.bucket_use_path",
        "emergency_password", "workers",
    ],
)  # fmt: skip
def test_key_of_conduit_is_known(name: str) -> None:
    assert name in KEYS
