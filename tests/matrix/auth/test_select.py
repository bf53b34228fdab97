from __future__ import annotations

from typing import Any

import pytest

from conduit_py.matrix.auth import select_auth_types
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from tests.matrix.auth.rig import ALICE, BOB, MOD, TOKEN

CREATE = ("m.room.create", "")
POWER_LEVELS = ("m.room.power_levels", "")
JOIN_RULES = ("m.room.join_rules", "")
BY_ALICE = [CREATE, POWER_LEVELS, ("m.room.member", ALICE)]
ABOUT_BOB = [*BY_ALICE, ("m.room.member", BOB)]
SIGNED: dict[str, Any] = {"third_party_invite": {"signed": {"token": TOKEN}}}
AUTHORISED: dict[str, Any] = {"join_authorised_via_users_server": MOD}


def select(type: str, state_key: str | None = None, *, version: str = "11", **content: Any) -> list[tuple[str, str]]:
    return select_auth_types(ROOM_VERSIONS[version], type=type, sender=ALICE, state_key=state_key, content=content)


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_create_selects_nothing(version: str) -> None:
    assert select("m.room.create", "", version=version) == []


def test_message_selects_create_power_levels_and_sender() -> None:
    assert select("m.room.message", body="hi") == BY_ALICE


def test_membership_of_another_type_does_not_count() -> None:
    assert select("test.event", BOB, membership="join", **SIGNED) == BY_ALICE


def test_create_is_selected_up_to_version_11() -> None:
    selecting = {version for version in ROOM_VERSIONS if CREATE in select("m.room.message", version=version)}
    assert selecting == set(ROOM_VERSIONS) - {"12"}


@pytest.mark.parametrize("membership", ["leave", "ban", "dance", None, 1])
def test_removal_selects_the_target(membership: Any) -> None:
    assert select("m.room.member", BOB, membership=membership, **SIGNED, **AUTHORISED) == ABOUT_BOB


@pytest.mark.parametrize("membership", ["join", "invite", "knock"])
def test_entry_selects_join_rules(membership: str) -> None:
    assert select("m.room.member", BOB, membership=membership) == [*ABOUT_BOB, JOIN_RULES]


def test_own_membership_is_selected_once() -> None:
    assert select("m.room.member", ALICE, membership="join") == [*BY_ALICE, JOIN_RULES]


def test_third_party_invite_is_selected_by_its_token() -> None:
    selected = select("m.room.member", BOB, membership="invite", **SIGNED)
    assert selected == [*ABOUT_BOB, JOIN_RULES, ("m.room.third_party_invite", TOKEN)]


@pytest.mark.parametrize("invite", [None, [], {}, {"signed": TOKEN}, {"signed": {}}, {"signed": {"token": 1}}])
def test_third_party_invite_without_token_selects_nothing_more(invite: Any) -> None:
    assert select("m.room.member", BOB, membership="invite", third_party_invite=invite) == [*ABOUT_BOB, JOIN_RULES]


def test_authorising_user_is_selected_since_version_8() -> None:
    for version in ROOM_VERSIONS:
        selected = select("m.room.member", ALICE, version=version, membership="join", **AUTHORISED)
        assert (("m.room.member", MOD) in selected) == (int(version) >= 8)


@pytest.mark.parametrize("authoriser", [None, 1, {}])
def test_authorising_user_who_is_no_string_is_not_selected(authoriser: Any) -> None:
    selected = select("m.room.member", ALICE, membership="join", join_authorised_via_users_server=authoriser)
    assert selected == [*BY_ALICE, JOIN_RULES]
