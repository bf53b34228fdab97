"""Keys that set nothing: not usable yet, known under a newer name, or of Conduit and without a meaning here."""

from __future__ import annotations

NOT_YET: dict[str, str] = {
    "media.backend": "media cannot be kept in an S3 bucket yet; leave it out to keep them in media.path",
    "jwt_secret": "logging in with JSON web tokens is not there yet; leave it out",
    "tracing_flame": "writing profiles for flame graphs is not there yet; leave it out",
}
"""Keys that are refused when they differ from their default. A feature that arrives removes its row."""

RENAMED: dict[str, str] = {
    "turn_uris": "turn.uris",
    "turn_secret": "turn.secret",
    "turn_username": "turn.username",
    "turn_password": "turn.password",
    "turn_ttl": "turn.ttl",
    "well_known_client": "well_known.client",
    "well_known_server": "well_known.server",
}
"""Older names of keys; the newer name wins where both are set."""

_OTHER_ENGINE = "the database engine is LMDB, which needs no such setting"

MEANINGLESS: dict[str, str] = {
    "database_backend": "there is one database engine, LMDB",
    "rocksdb_*": _OTHER_ENGINE,
    "sqlite_*": _OTHER_ENGINE,
    "cache_capacity": "db_cache_capacity_mb sizes the cache",
    "pdu_cache_capacity": "db_cache_capacity_mb sizes the cache",
    "conduit_cache_capacity_modifier": "db_cache_capacity_mb sizes the cache",
    "cleanup_second_interval": "the database cleans up as it writes",
    "allow_check_for_updates": "the server never looks for updates of itself",
}
"""Conduit's keys that are accepted and do nothing here, with the reason. ``*`` stands for any ending."""
