"""User-interactive authentication with flows of several stages, which no operation has yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio
import trio.testing

from conduit_py.data.uia_sessions import get_session
from conduit_py.matrix.ids import UserId
from conduit_py.service.errors import Forbidden, UiaRequired
from conduit_py.service.requester import Requester
from conduit_py.service.users import uia
from conduit_py.service.users.uia import Challenge, Proof, StageFailed, UiaService
from kvschema.catalog.rooms import ShortUserId
from tests.rig.server import Server

HOUR_S = 3600


async def verify_terms(auth: Mapping[str, Any]) -> None:
    if auth.get("accepted") is not True:
        raise StageFailed("Accept the terms")


CHALLENGE = Challenge(
    operation="test",
    flows=[("m.login.terms", "m.login.dummy")],
    stages={"m.login.terms": verify_terms, uia.DUMMY: uia.verify_dummy},
)


@pytest.fixture
def service(server: Server) -> UiaService:
    return server.services.accounts.uia


async def ask(service: UiaService, auth: Mapping[str, Any] | None, challenge: Challenge = CHALLENGE) -> UiaRequired:
    with pytest.raises(UiaRequired) as raised:
        await service.require(auth, challenge)
    return raised.value


async def use(server: Server, proof: Proof) -> None:
    async with server.store.writer.turn() as turn:
        with server.store.snapshot() as snapshot:
            proof.stage_used(snapshot, turn)


def sessions(server: Server) -> int:
    return len(server.dump()["userdevicesessionid_uiaainfo"])


async def test_flow_of_two_stages_is_complete_after_both(server: Server, service: UiaService) -> None:
    first = await ask(service, None)
    session = first.extra["session"]
    assert "completed" not in first.extra
    second = await ask(service, {"type": "m.login.terms", "accepted": True, "session": session})
    assert second.extra["completed"] == ["m.login.terms"]
    assert second.extra["session"] == session
    proof = await service.require({"type": uia.DUMMY, "session": session}, CHALLENGE)
    await use(server, proof)
    assert sessions(server) == 0


async def test_session_that_was_used_is_refused(server: Server, service: UiaService) -> None:
    session = (await ask(service, None)).extra["session"]
    await ask(service, {"type": "m.login.terms", "accepted": True, "session": session})
    proofs = [await service.require({"type": uia.DUMMY, "session": session}, CHALLENGE) for _ in range(2)]
    await use(server, proofs[0])
    with pytest.raises(Forbidden):
        await use(server, proofs[1])


async def test_stages_are_taken_in_order(service: UiaService) -> None:
    session = (await ask(service, None)).extra["session"]
    refused = await ask(service, {"type": uia.DUMMY, "session": session})
    assert refused.errcode == "M_UNRECOGNIZED"
    assert "completed" not in refused.extra


async def test_stage_that_failed_may_be_tried_again(service: UiaService) -> None:
    session = (await ask(service, None)).extra["session"]
    refused = await ask(service, {"type": "m.login.terms", "session": session})
    assert (refused.errcode, str(refused)) == ("M_FORBIDDEN", "Accept the terms")
    accepted = await ask(service, {"type": "m.login.terms", "accepted": True, "session": session})
    assert accepted.extra["completed"] == ["m.login.terms"]


async def test_stage_that_is_complete_is_not_asked_again(service: UiaService) -> None:
    session = (await ask(service, None)).extra["session"]
    await ask(service, {"type": "m.login.terms", "accepted": True, "session": session})
    again = await ask(service, {"type": "m.login.terms", "accepted": False, "session": session})
    assert again.errcode == ""
    assert again.extra["completed"] == ["m.login.terms"]


async def test_session_alone_tells_how_far_it_is(service: UiaService) -> None:
    session = (await ask(service, None)).extra["session"]
    assert (await ask(service, {"session": session})).extra["session"] == session


@pytest.mark.parametrize("session", ["unknown", "x" * 100, "\0", ""])
async def test_session_that_is_unknown_begins_another(service: UiaService, session: str) -> None:
    begun = await ask(service, {"type": "m.login.terms", "accepted": True, "session": session})
    assert begun.extra["session"] != session
    assert begun.extra["completed"] == ["m.login.terms"]


async def test_session_of_another_operation_is_forbidden(service: UiaService) -> None:
    session = (await ask(service, None)).extra["session"]
    other = Challenge(operation="other", flows=CHALLENGE.flows, stages=CHALLENGE.stages)
    with pytest.raises(Forbidden):
        await service.require({"session": session}, other)


async def test_session_with_other_parameters_is_forbidden(service: UiaService) -> None:
    session = (await ask(service, None)).extra["session"]
    other = Challenge(operation="test", flows=CHALLENGE.flows, stages=CHALLENGE.stages, bound={"device": "A"})
    with pytest.raises(Forbidden):
        await service.require({"session": session}, other)


async def test_sweep_removes_sessions_of_more_than_an_hour(
    server: Server, service: UiaService, autojump_clock: trio.testing.MockClock
) -> None:
    await ask(service, None)
    await trio.sleep(HOUR_S / 2)
    await ask(service, None)
    await service.sweep()
    assert sessions(server) == 2
    await trio.sleep(HOUR_S / 2 + 1)
    await service.sweep()
    assert sessions(server) == 1


async def test_sessions_are_bounded_and_the_oldest_make_room(
    server: Server, service: UiaService, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uia, "UIA_SESSIONS_MAX", 3)
    alice = Challenge(
        operation="test",
        flows=CHALLENGE.flows,
        stages=CHALLENGE.stages,
        requester=Requester(user_id=UserId("@alice:one.test"), user=ShortUserId(1), device_id=None),
    )
    of_alice = (await ask(service, None, alice)).extra["session"]
    begun = []
    for _ in range(4):
        await trio.sleep(1)
        begun.append((await ask(service, None)).extra["session"])
    assert sessions(server) == 3
    assert [session for session in begun if service.get_pending(session) is not None] == begun[2:]
    assert service.get_pending(of_alice) is not None
    await trio.sleep(HOUR_S - 3)
    await ask(service, None)
    assert service.get_pending(begun[2]) is not None
    with server.store.snapshot() as snapshot:
        assert get_session(snapshot, of_alice) is None
