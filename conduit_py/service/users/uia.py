"""User-interactive authentication: proving again, in stages, who one is before something that matters.

A session belongs to one operation, user and device, and to the parameters that must not change on the way. It is
stored, so a restart does not throw anybody back; it holds the names of the stages that were completed and no password.
The operation removes it in its own batch (``Proof.stage_used``), so a session is used once.

Spec: client-server-api/#user-interactive-authentication-api
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import islice
from typing import Any, Final

from conduit_py.data import uia_sessions
from conduit_py.service.errors import BadJson, Forbidden, NotFound, UiaRequired
from conduit_py.service.requester import Requester
from conduit_py.service.users.store import Store
from conduit_py.service.users.tokens import new_token
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.users import UIA_SESSIONS_MAX, UiaSession
from kvschema.errors import PreconditionFailed

SESSION_AGE_MS_MAX: Final = 60 * 60 * 1000
SWEEP_MAX: Final = 1000
"""Expired sessions that one batch removes."""

DUMMY: Final = "m.login.dummy"
PASSWORD: Final = "m.login.password"
REGISTRATION_TOKEN: Final = "m.login.registration_token"

Stages = tuple[str, ...]
Verify = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Judges what the client submitted for one stage. Raises ``StageFailed``."""


class StageFailed(Exception):
    """The client may try this stage again."""

    def __init__(self, message: str, errcode: str = "M_FORBIDDEN") -> None:
        super().__init__(message)
        self.errcode = errcode


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What has to be proven, for which operation."""

    operation: str
    flows: Sequence[Stages]
    stages: Mapping[str, Verify]
    requester: Requester | None = None
    bound: Mapping[str, str] = field(default_factory=dict)
    """Parameters that must stay the same until the last stage. Stored: no secrets."""

    @property
    def user_id(self) -> str:
        return self.requester.user_id if self.requester is not None else ""

    @property
    def device_id(self) -> str:
        return (self.requester.device_id or "") if self.requester is not None else ""

    def fits(self, row: UiaSession) -> bool:
        return (row.operation, row.user_id, row.device_id, row.params) == (
            self.operation,
            self.user_id,
            self.device_id,
            dict(self.bound),
        )

    def is_complete(self, completed: Stages) -> bool:
        return any(completed[: len(flow)] == tuple(flow) for flow in self.flows)


def is_next(flows: Sequence[Stages], completed: Stages, stage: str) -> bool:
    """Stages of a flow are completed in its order."""
    done = len(completed)
    return any(tuple(flow[:done]) == completed and flow[done : done + 1] == (stage,) for flow in flows)


@dataclass(frozen=True, slots=True)
class Proof:
    """A flow was completed. The operation must stage its end."""

    session: str = ""
    row: UiaSession | None = None

    def stage_used(self, snapshot: Snapshot, turn: Turn) -> None:
        """Remove the session with the operation's own batch. Raises ``Forbidden`` if another request has used it.

        If that happens only now, the batch is refused (``PreconditionFailed``).
        """
        if self.row is None:
            return
        if uia_sessions.get_session(snapshot, self.session) is None:
            raise Forbidden("The authentication session was used already")
        uia_sessions.stage_used(turn, self.session, self.row)


NO_SESSION: Final = Proof()
"""Nothing had to be proven, or all of it was in one request."""


class UiaService:
    """One per server."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def require(self, auth: Mapping[str, Any] | None, challenge: Challenge) -> Proof:
        """Go as far as ``auth`` (the property of the body) goes.

        Raises ``UiaRequired`` until a flow is complete, and ``Forbidden`` for a session of another operation. A session
        that is unknown or too old is as good as none: its stages start again.
        """
        if auth is None:
            raise await self._begin(challenge, ())
        session, row = self._find_session(auth, challenge)
        completed = row.completed if row is not None else ()
        stage = auth.get("type")
        if stage is not None and not isinstance(stage, str):
            raise BadJson("auth.type must be a string")
        failed: StageFailed | None = None
        if stage is not None and stage not in completed:
            try:
                await self._verify(challenge, completed, stage, auth)
                completed = (*completed, stage)
            except StageFailed as error:
                failed = error
        if failed is None and challenge.is_complete(completed):
            return Proof(session, row)
        if row is None:
            raise await self._begin(challenge, completed, failed)
        if completed != row.completed:
            await self._note_completed(session, row, completed)
        raise _required(challenge, session, completed, failed)

    def _find_session(self, auth: Mapping[str, Any], challenge: Challenge) -> tuple[str, UiaSession | None]:
        session = auth.get("session", "")
        if not isinstance(session, str):
            raise BadJson("auth.session must be a string")
        row = self.get_pending(session)
        if row is None:
            return "", None
        if not challenge.fits(row):
            raise Forbidden("The authentication session belongs to another request")
        return session, row

    def get_pending(self, session: str) -> UiaSession | None:
        """A session that somebody is at; None once it is used, or too old."""
        with self._store.snapshot() as snapshot:
            row = uia_sessions.get_session(snapshot, session)
        return None if row is None or row.created_ms < self._store.now_ms() - SESSION_AGE_MS_MAX else row

    async def note_completed(self, session: str, row: UiaSession, stage: str, *, token: str = "") -> None:
        """A stage was completed elsewhere than in the request. Raises ``NotFound`` if the session has changed."""
        try:
            async with self._store.writer.turn() as turn:
                changed = row._replace(completed=(*row.completed, stage), token=token)
                uia_sessions.stage_changed(turn, session, row, changed)
        except PreconditionFailed:
            raise NotFound("The authentication session was used or changed meanwhile") from None

    async def _verify(self, challenge: Challenge, completed: Stages, stage: str, auth: Mapping[str, Any]) -> None:
        if not is_next(challenge.flows, completed, stage):
            raise StageFailed("This stage is not the next of any flow", "M_UNRECOGNIZED")
        await challenge.stages[stage](auth)

    async def _begin(self, challenge: Challenge, completed: Stages, failed: StageFailed | None = None) -> UiaRequired:
        session = new_token()
        now_ms = self._store.now_ms()
        row = UiaSession(
            challenge.operation, challenge.user_id, challenge.device_id, completed, now_ms, dict(challenge.bound)
        )
        async with self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                if uia_sessions.count_sessions(snapshot) >= UIA_SESSIONS_MAX:
                    _stage_room_made(snapshot, turn, now_ms)
            uia_sessions.stage_session(turn, session, row)
        return _required(challenge, session, completed, failed)

    async def _note_completed(self, session: str, row: UiaSession, completed: Stages) -> None:
        async with self._store.writer.turn() as turn:
            uia_sessions.stage_session(turn, session, row._replace(completed=completed))

    async def sweep(self) -> None:
        """Remove what has expired."""
        async with self._store.writer.turn(may_use_reserve=True) as turn:
            with self._store.snapshot() as snapshot:
                stage_expired(snapshot, turn, self._store.now_ms())


def stage_expired(snapshot: Snapshot, turn: Turn, now_ms: int) -> int:
    """Remove up to ``SWEEP_MAX`` sessions that began too long ago; says how many."""
    expired = list(islice(uia_sessions.scan_begun_before(snapshot, now_ms - SESSION_AGE_MS_MAX), SWEEP_MAX))
    for session in expired:
        uia_sessions.stage_removed(turn, session)
    return len(expired)


def _stage_room_made(snapshot: Snapshot, turn: Turn, now_ms: int) -> None:
    """Remove a tenth of the sessions: expired ones, then the oldest, of those who have no account before others.

    Anybody can begin as many as they like, and must not keep others from beginning one.
    """
    expired_ms = now_ms - SESSION_AGE_MS_MAX

    def order(found: tuple[str, UiaSession]) -> tuple[bool, bool, int]:
        _, row = found
        return row.created_ms >= expired_ms, row.user_id != "", row.created_ms

    for session, _ in nsmallest(max(1, UIA_SESSIONS_MAX // 10), uia_sessions.scan_sessions(snapshot), key=order):
        uia_sessions.stage_removed(turn, session)


async def verify_dummy(auth: Mapping[str, Any]) -> None:
    """Spec: client-server-api/#dummy-auth"""


def _required(challenge: Challenge, session: str, completed: Stages, failed: StageFailed | None) -> UiaRequired:
    answer: dict[str, Any] = {
        "flows": [{"stages": list(flow)} for flow in challenge.flows],
        "params": {},
        "session": session,
    }
    if completed:
        answer["completed"] = list(completed)
    if failed is None:
        return UiaRequired("Authentication is required", extra=answer)
    return UiaRequired(str(failed), errcode=failed.errcode, extra=answer)
