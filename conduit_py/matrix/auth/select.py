"""Which entries of the room state give the sender permission to send an event.

Spec: server-server-api/#auth-events-selection
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conduit_py.matrix.room_versions import RoomVersion


def select_auth_types(
    room_version: RoomVersion, *, type: str, sender: str, state_key: str | None, content: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """The ``(type, state_key)`` pairs whose current events, where there are any, belong into ``auth_events``.

    Without duplicates; the order carries no meaning but is always the same for the same event.
    """
    # The auth_events for the m.room.create event in a room is empty.
    if type == "m.room.create":
        return []

    selected: list[tuple[str, str]] = []

    # Depending on the room version, the m.room.create event.
    if room_version.auth.create_in_auth_events:
        selected.append(("m.room.create", ""))

    # The current m.room.power_levels event, if any.
    selected.append(("m.room.power_levels", ""))

    # The sender's current m.room.member event, if any.
    selected.append(("m.room.member", sender))

    # If type is m.room.member:
    if type == "m.room.member":
        selected.extend(_select_for_member(room_version, state_key, content))
    return list(dict.fromkeys(selected))


def _select_for_member(
    room_version: RoomVersion, state_key: str | None, content: Mapping[str, Any]
) -> list[tuple[str, str]]:
    selected: list[tuple[str, str]] = []
    membership = content.get("membership")

    # The target's current m.room.member event, if any.
    if state_key is not None:
        selected.append(("m.room.member", state_key))

    # If membership is join, invite or knock, the current m.room.join_rules event, if any.
    if membership in ("join", "invite", "knock"):
        selected.append(("m.room.join_rules", ""))

    # If membership is invite and content contains a third_party_invite property, the current
    # m.room.third_party_invite event with state_key matching content.third_party_invite.signed.token, if any.
    if membership == "invite":
        token = _third_party_invite_token(content)
        if token is not None:
            selected.append(("m.room.third_party_invite", token))

    # If membership is join, content.join_authorised_via_users_server is present, and the room version supports
    # restricted rooms, then the m.room.member event with state_key matching content.join_authorised_via_users_server.
    if membership == "join" and room_version.auth.restricted_join_rule:
        authoriser = content.get("join_authorised_via_users_server")
        if isinstance(authoriser, str):
            selected.append(("m.room.member", authoriser))
    return selected


def _third_party_invite_token(content: Mapping[str, Any]) -> str | None:
    invite = content.get("third_party_invite")
    signed = invite.get("signed") if isinstance(invite, Mapping) else None
    token = signed.get("token") if isinstance(signed, Mapping) else None
    return token if isinstance(token, str) else None
