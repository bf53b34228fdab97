"""SIGHUP: the configuration is read again, and what can change while the server runs changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import trio

from conduit_py.config import Config, ConfigError, LoadedConfig
from conduit_py.config.reload import merge_reloaded
from conduit_py.http.tls import Tls
from conduit_py.log import get_logger, setup_logging

_log = get_logger(__name__)

ReadConfig = Callable[[], LoadedConfig]
"""Reads the configuration as at start; raises ``ConfigError`` or ``OSError``."""

Apply = Callable[[Config], None]
"""Hands the new values to whoever uses them. Must not fail."""


class Reloader:
    """One per server.

    :param tls: the certificate's files are read again even when their names have not changed.
    """

    def __init__(self, config: Config, read: ReadConfig, applies: Sequence[Apply], tls: Tls | None) -> None:
        self._config = config
        self._read = read
        self._applies = applies
        self._tls = tls

    async def reload(self) -> None:
        """Take over what can change, all of it or, where something is wrong, nothing. The log says what was done."""
        try:
            loaded = await trio.to_thread.run_sync(self._read)
            outcome = merge_reloaded(self._config, loaded.config)
            if self._tls is not None and outcome.config.tls is not None:
                self._tls.load(outcome.config.tls.certs, outcome.config.tls.key)
        except (ConfigError, OSError) as error:
            _log.error("the configuration cannot be read again, nothing has changed", why=str(error))
            return
        for apply in self._applies:
            apply(outcome.config)
        self._config = outcome.config
        for warning in loaded.warnings:
            _log.warning(warning)
        # A warning, because whoever asked for it is to see it with the default filter.
        _log.warning(
            "the configuration was read again",
            changed=", ".join(outcome.changed) or "nothing",
            needs_restart=", ".join(outcome.waiting) or "nothing",
        )


def apply_logging(config: Config) -> None:
    """Log from now on what the new filter lets through."""
    setup_logging(config.log, config.log_format)


def has_terminal() -> bool:
    """Whether the process still has the terminal that it was started from, if it was."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
