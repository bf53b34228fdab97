"""Writing configuration files for tests, and reading them."""

from __future__ import annotations

from pathlib import Path

import pytest

from conduit_py.config import Config, ConfigError, LoadedConfig, load_config

GUIDE_OF_2021 = """\
[global]
server_name = "alice.uber.space"
database_path = "/home/alice/conduit_data"

port = 6167

# Max size for uploads
max_request_size = 20_000_000 # in bytes

allow_registration = true

# Disable encryption, so no new encrypted rooms can be created
#allow_encryption = false

allow_federation = true
#allow_jaeger = false

trusted_servers = [""]

#max_concurrent_requests = 100
log = "info,state_res=warn,rocket=off,_=off,sled=off"
workers = 4

address = ""

proxy = "none"
db_cache_capacity_mb = 100
"""
"""What the guide of that year for shared hosting has people write."""


def load(folder: Path, text: str, **environ: str) -> LoadedConfig:
    """What a file of this content and these environment variables give."""
    path = folder / "conduit.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, environ)


def config(folder: Path, text: str, **environ: str) -> Config:
    return load(folder, text, **environ).config


def refusal(folder: Path, text: str, **environ: str) -> str:
    """The text of the error, with the folder taken out."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text, **environ)
    return str(caught.value).replace(f"{folder}/", "")
