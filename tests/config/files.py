"""Writing configuration files for tests, and reading them."""

from __future__ import annotations

from pathlib import Path

import pytest

from conduit_py.config import Config, ConfigError, LoadedConfig, load_config


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
