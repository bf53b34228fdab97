"""The redaction algorithm: what is left of an event when all that is not essential is stripped.

Signatures and reference hashes cover the redacted event, which is why redacting changes neither.

Spec: client-server-api/#redactions, and "Redactions" on the page of each room version
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from conduit_py.matrix.room_versions import RedactionRules, RoomVersion

_KEPT_KEYS: Final = frozenset(
    {
        "event_id",
        "type",
        "room_id",
        "sender",
        "state_key",
        "content",
        "hashes",
        "signatures",
        "depth",
        "prev_events",
        "auth_events",
        "origin_server_ts",
    }
)
_HISTORICAL_KEYS: Final = frozenset({"prev_state", "origin", "membership"})
_POWER_LEVELS_KEYS: Final = frozenset(
    {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}
)
_NOTHING: Final[frozenset[str]] = frozenset()


def redact(json: Mapping[str, Any], room_version: RoomVersion) -> dict[str, Any]:
    """A redacted copy of an event in the federation format. Parts that are kept whole are shared with ``json``."""
    rules = room_version.redaction
    kept = kept_keys(rules)
    redacted = {key: value for key, value in json.items() if key in kept}
    if "content" in redacted:
        redacted["content"] = _redact_content(json.get("type"), redacted["content"], rules)
    return redacted


@cache
def kept_keys(rules: RedactionRules) -> frozenset[str]:
    """Top-level keys that survive."""
    return _KEPT_KEYS | _HISTORICAL_KEYS if rules.keeps_historical_keys else _KEPT_KEYS


@cache
def kept_content_keys(rules: RedactionRules) -> Mapping[str, frozenset[str]]:
    """Content keys that survive, by event type; the whole and nested ones of room version 11 aside."""
    kept = {
        "m.room.member": {"membership"},
        "m.room.create": {"creator"},
        "m.room.join_rules": {"join_rule"},
        "m.room.power_levels": set(_POWER_LEVELS_KEYS),
        "m.room.history_visibility": {"history_visibility"},
    }
    if rules.keeps_aliases:
        kept["m.room.aliases"] = {"aliases"}
    if rules.keeps_join_rule_allow:
        kept["m.room.join_rules"].add("allow")
    if rules.keeps_join_authorised_via_users_server:
        kept["m.room.member"].add("join_authorised_via_users_server")
    if rules.keeps_invite_level:
        kept["m.room.power_levels"].add("invite")
    if rules.keeps_redacts_in_content:
        kept["m.room.redaction"] = {"redacts"}
    return {event_type: frozenset(keys) for event_type, keys in kept.items()}


def _redact_content(event_type: Any, content: Any, rules: RedactionRules) -> Any:
    if not isinstance(content, Mapping) or not isinstance(event_type, str):
        return {}
    if event_type == "m.room.create" and rules.keeps_create_content:
        return content
    kept = kept_content_keys(rules).get(event_type, _NOTHING)
    redacted = {key: value for key, value in content.items() if key in kept}
    if event_type == "m.room.member" and rules.keeps_third_party_invite_signed:
        invite = content.get("third_party_invite")
        # An invite without "signed" leaves an empty object: so the servers that made the event IDs have it.
        if isinstance(invite, Mapping):
            redacted["third_party_invite"] = {"signed": invite["signed"]} if "signed" in invite else {}
    return redacted
