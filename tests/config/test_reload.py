"""Each key either changes while the server runs or is said to need a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conduit_py.config import Config, Tls, Turn, load_config
from conduit_py.config.keys import KEYS
from conduit_py.config.reload import merge_reloaded

RELOADED = {
    "trusted_proxies",
    "tls.certs",
    "tls.key",
    "allow_registration",
    "registration_token",
    "allow_guest_registration",
    "enable_lightning_bolt",
    "forbidden_remote_server_names",
    "media.retention",
    "turn.uris",
    "turn.secret",
    "turn.username",
    "turn.password",
    "turn.ttl",
    "log",
    "log_format",
    *(name for name in KEYS if name.startswith("rate_limits.")),
}
OF_S3 = {f"media.{name}" for name in ("endpoint", "bucket", "region", "key", "secret", "duration", "bucket_use_path")}
"""They have no place in a configuration that keeps media in files."""

RUNNING = replace(
    load_config(None, {}).config,
    tls=Tls(Path("certificate.pem"), Path("key.pem")),
    turn=Turn(uris=("turn:one.test",), ttl=1, secret=None, username="user", password=None),
)


def changed(section: Any, steps: list[str], value: object) -> Any:
    first, *rest = steps
    return replace(section, **{first: changed(getattr(section, first), rest, value) if rest else value})


def get(config: Any, name: str) -> object:
    for step in name.split("."):
        config = getattr(config, step)
    return config


def test_keys_that_change_while_the_server_runs_are_marked() -> None:
    assert {name for name, key in KEYS.items() if key.reload} == RELOADED


@pytest.mark.parametrize("name", sorted(set(KEYS) - OF_S3))
def test_key_is_taken_over_or_said_to_need_a_restart(name: str) -> None:
    value = object()
    outcome = merge_reloaded(RUNNING, changed(RUNNING, name.split("."), value))
    if name in RELOADED:
        assert (outcome.changed, outcome.waiting) == ((name,), ())
        assert get(outcome.config, name) is value
        assert changed(outcome.config, name.split("."), get(RUNNING, name)) == RUNNING
    else:
        assert (outcome.changed, outcome.waiting) == ((), (name,))
        assert outcome.config == RUNNING


def test_turn_servers_come_and_go() -> None:
    without = replace(RUNNING, turn=None)
    assert merge_reloaded(RUNNING, without).config.turn is None
    outcome = merge_reloaded(without, RUNNING)
    assert outcome.config.turn == RUNNING.turn
    assert "turn.uris" in outcome.changed


@pytest.mark.parametrize(
    ("running", "wanted"), [(RUNNING, replace(RUNNING, tls=None)), (replace(RUNNING, tls=None), RUNNING)]
)
def test_beginning_or_ceasing_to_speak_tls_needs_a_restart(running: Config, wanted: Config) -> None:
    outcome = merge_reloaded(running, wanted)
    assert (outcome.changed, outcome.waiting) == ((), ("tls.certs", "tls.key"))
    assert outcome.config == running


def test_nothing_changed() -> None:
    outcome = merge_reloaded(RUNNING, replace(RUNNING))
    assert (outcome.config, outcome.changed, outcome.waiting) == (RUNNING, (), ())
