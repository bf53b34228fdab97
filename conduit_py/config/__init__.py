"""The configuration: ``conduit.toml`` and ``CONDUIT_*`` variables in, one frozen `Config` out.

`keys` is the table of everything that can be set, with `storage_keys`; `entry` is what a row says; `kinds` and `tables`
read single values; `source` finds settings and knows where each stands; `load` puts them together; `model` is what the
rest of the server sees; `sample` writes ``conduit.toml.sample``; `foreign` recognizes the database of another server;
`reload` says what may change while the server runs; `odd_keys` has names that set nothing.

To add a key: a row in `keys`, a field of the same name in `model`, and ``render_sample`` written to the sample file.
"""

from __future__ import annotations

from conduit_py.config.errors import ConfigError, Problem
from conduit_py.config.foreign import find_foreign_database
from conduit_py.config.load import LoadedConfig, load_config
from conduit_py.config.model import (
    S3,
    Config,
    DirectoryStructure,
    IgnoredKeys,
    IpAddress,
    IpNetwork,
    Media,
    MediaRetention,
    MediaScope,
    PasswordHash,
    Proxy,
    ProxyRule,
    RateLimit,
    RateLimits,
    RetentionPolicies,
    Secret,
    SocketAddress,
    Tls,
    Turn,
    WellKnown,
)
from conduit_py.config.sample import render_sample

__all__ = [
    "S3",
    "Config",
    "ConfigError",
    "DirectoryStructure",
    "IgnoredKeys",
    "IpAddress",
    "IpNetwork",
    "LoadedConfig",
    "Media",
    "MediaRetention",
    "MediaScope",
    "PasswordHash",
    "Problem",
    "Proxy",
    "ProxyRule",
    "RateLimit",
    "RateLimits",
    "RetentionPolicies",
    "Secret",
    "SocketAddress",
    "Tls",
    "Turn",
    "WellKnown",
    "find_foreign_database",
    "load_config",
    "render_sample",
]
