"""Membership events that local users send, by whichever operation: what they say, and what is asked of them first.

The rules of the room version judge the event. What stands here is what the rules leave to servers: restricted joins,
guests, invites that the invited do not want, suspended accounts.

Spec: client-server-api/#room-membership
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from conduit_py.data import members, profiles, short_ids, users
from conduit_py.matrix.ids import EventId, RoomId, UserId, server_name_of
from conduit_py.matrix.pdu import Pdu
from conduit_py.service.errors import BadJson, Forbidden, MatrixError, NotFound
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.rooms.guests import require_guests_may_join
from conduit_py.service.rooms.ignored import blocks_invites
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortUserId

MEMBER = "m.room.member"

_PROFILE = ("displayname", "avatar_url")
_AUTHORISER = "join_authorised_via_users_server"
_NOT_KEPT = frozenset({*_PROFILE, _AUTHORISER, "reason", "third_party_invite", "is_direct"})
_SHOWS_PROFILE = ("join", "invite", "knock")


def membership_content(membership: str, reason: str | None, **more: Any) -> dict[str, Any]:
    content = {"membership": membership, **more}
    return content if reason is None else content | {"reason": reason}


def stage_membership(
    snapshot: Snapshot, append: RoomAppend, requester: Requester, user_id: UserId, content: Mapping[str, Any]
) -> EventId:
    """Set somebody's membership as the requester asks, and return the event: the current one if it says just that.

    Raises ``Forbidden`` and what ``build_member_content`` raises.
    """
    content = build_member_content(snapshot, append, requester, user_id, content)
    same = append.find_same(sender=requester.user_id, type=MEMBER, state_key=user_id, content=content)
    if same is not None:
        return same
    pdu = append.create_event(
        sender=requester.user_id,
        type=MEMBER,
        content=content,
        state_key=user_id,
        origin_server_ts=requester.asserted_ts_ms,
    )
    append.append(pdu)
    return pdu.event_id


def build_member_content(
    snapshot: Snapshot,
    append: RoomAppend,
    requester: Requester,
    user_id: UserId,
    content: Mapping[str, Any],
    *,
    may_be_remote: bool = False,
) -> dict[str, Any]:
    """What the event says: what was asked for, the user's profile where that is silent, and who vouches for a join.

    ``may_be_remote`` is for who has the invite signed by the server of the user that is invited.

    Raises ``BadJson``, ``NotFound``, ``Forbidden``, ``M_USER_SUSPENDED``, ``M_GUEST_ACCESS_FORBIDDEN``,
    ``M_INVITE_BLOCKED`` and ``M_UNABLE_TO_GRANT_JOIN``.
    """
    membership = content.get("membership")
    if not isinstance(membership, str):
        raise BadJson("a membership event must have a membership")
    is_own = user_id == requester.user_id
    if not (is_own and membership == "leave"):
        requester.require_not_suspended()
    # Only this server says for whom it vouches.
    built = {key: value for key, value in content.items() if key != _AUTHORISER}
    if is_own and membership == "join":
        built.update(_ask_for_join(snapshot, append, requester))
    elif membership == "invite":
        if append.get_membership(requester.user_id) != "join":
            raise Forbidden(f"{requester.user_id} is not joined to {append.room.room_id}")
        if server_name_of(user_id) == append.server_name:
            require_takes_invites(snapshot, user_id)
        elif not may_be_remote:
            raise Forbidden(f"{user_id} cannot be invited in this way: the user's server has to sign the invite")
    if membership in _SHOWS_PROFILE and server_name_of(user_id) == append.server_name:
        user = short_ids.get_user(snapshot, user_id)
        return built if user is None else {**get_shown_profile(snapshot, user), **built}
    return built


def get_shown_profile(snapshot: Snapshot, user: ShortUserId) -> dict[str, Any]:
    """What membership events tell of a local user's profile.

    Spec: client-server-api/#events-on-change-of-profile-information
    """
    profile = profiles.get_profile(snapshot, user)
    return {key: profile[key] for key in _PROFILE if profile.get(key) is not None}


def build_changed_profile(snapshot: Snapshot, user: ShortUserId, current: Mapping[str, Any]) -> dict[str, Any]:
    """The content that follows a membership event when the user's profile has changed."""
    kept = {key: value for key, value in current.items() if key not in _NOT_KEPT}
    return kept | get_shown_profile(snapshot, user)


def require_takes_invites(snapshot: Snapshot, user_id: UserId) -> ShortUserId:
    """A user of this server who may be invited. Raises ``NotFound`` and ``M_INVITE_BLOCKED``.

    Spec: client-server-api/#invite-permission
    """
    found = users.get_local(snapshot, user_id)
    if found is None or found[1].is_deactivated:
        raise NotFound(f"{user_id} has no account on this server")
    if blocks_invites(snapshot, found[0]):
        raise MatrixError(f"{user_id} takes no invites", errcode="M_INVITE_BLOCKED", status=403)
    return found[0]


def _ask_for_join(snapshot: Snapshot, append: RoomAppend, requester: Requester) -> dict[str, Any]:
    membership = append.get_membership(requester.user_id)
    if membership == "join":
        return {}
    if requester.is_guest:
        require_guests_may_join(append)
    if membership in ("invite", "ban"):
        return {}
    return build_authorised(snapshot, append, lambda room_id: is_in(snapshot, requester, room_id))


def build_authorised(
    snapshot: Snapshot, append: RoomAppend, is_member: Callable[[RoomId], bool | None]
) -> dict[str, Any]:
    """What a join says of the local member who vouches for it: nothing, unless the room is restricted.

    ``is_member`` tells whether the user is in one of the rooms whose members may join, None where that is not known
    here. Raises ``Forbidden``, ``M_UNABLE_TO_AUTHORISE_JOIN`` and ``M_UNABLE_TO_GRANT_JOIN``.

    Spec: client-server-api/#restricted-rooms, server-server-api/#restricted-rooms
    """
    rules = append.room.version.auth
    join_rules = append.get_state("m.room.join_rules", "")
    rule = None if join_rules is None else join_rules.content.get("join_rule")
    is_restricted = (rule == "restricted" and rules.restricted_join_rule) or (
        rule == "knock_restricted" and rules.knock_restricted_join_rule
    )
    if join_rules is None or not is_restricted:
        return {}
    answers = [is_member(room_id) for room_id in scan_allowed_rooms(join_rules)]
    if not any(answers):
        if None in answers:
            why = "this server does not see all rooms whose members may join"
            raise MatrixError(why, errcode="M_UNABLE_TO_AUTHORISE_JOIN", status=400)
        raise Forbidden("the room takes only those who are invited, or members of certain other rooms")
    levels = append.power_levels()
    for user in append.scan_local_joined():
        user_id = short_ids.get_user_id(snapshot, user)
        if levels.of_user(user_id) >= levels.to_invite():
            return {_AUTHORISER: user_id}
    raise MatrixError("nobody on this server may let new members in", errcode="M_UNABLE_TO_GRANT_JOIN", status=400)


def scan_allowed_rooms(join_rules: Pdu) -> Iterable[RoomId]:
    """The rooms that an ``m.room.join_rules`` names as those whose members may join."""
    allow = join_rules.content.get("allow")
    for condition in allow if isinstance(allow, list) else []:
        if isinstance(condition, dict) and condition.get("type") == "m.room_membership":
            room_id = condition.get("room_id")
            if isinstance(room_id, str):
                yield RoomId(room_id)


def is_in(snapshot: Snapshot, requester: Requester, room_id: RoomId) -> bool:
    """Is the requester joined to a room that is named by its id?"""
    room = short_ids.get_room(snapshot, room_id)
    return room is not None and members.is_joined(snapshot, requester.user, room)
