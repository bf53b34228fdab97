"""User-interactive authentication as values: flows, the stages that are done, and what may come next.

A session is replaced, never changed: `complete` gives the session with one more stage done. Checking a password or a
token, keeping sessions and letting them expire is for the caller.

Spec: client-server-api/#user-interactive-authentication-api
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, Final

from conduit_py.matrix.errcodes import Errcode
from conduit_py.matrix.ids import Malformed

PASSWORD: Final = "m.login.password"
RECAPTCHA: Final = "m.login.recaptcha"
SSO: Final = "m.login.sso"
EMAIL: Final = "m.login.email.identity"
MSISDN: Final = "m.login.msisdn"
DUMMY: Final = "m.login.dummy"
REGISTRATION_TOKEN: Final = "m.login.registration_token"
TERMS: Final = "m.login.terms"
OAUTH: Final = "m.oauth"

SESSION_CHARS_MAX: Final = 255

Flow = tuple[str, ...]
"""The stages of one way to authenticate, in the order in which they must be done. Not empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UiaSession:
    """One attempt of a client to authenticate for one operation."""

    session_id: str
    operation: str
    """What the session authenticates, in words of the caller's. It is good for nothing else."""
    flows: tuple[Flow, ...]
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What a client must know to do a stage, by stage."""
    completed: tuple[str, ...] = ()
    """The stages that are done, in that order."""

    @property
    def is_complete(self) -> bool:
        """Whether the operation may go ahead."""
        return any(flow == self.completed for flow in self.flows)


class Step(Enum):
    """What to do with the stage that a client asks for."""

    ATTEMPT = auto()
    """Check what the client submitted."""
    ALREADY_DONE = auto()
    """Do not check it again: it is as if the client had asked for nothing."""
    OUT_OF_ORDER = auto()
    """No flow has this stage next. Answer 401."""


def next_stages(session: UiaSession) -> tuple[str, ...]:
    """The stages that may come next, of every flow that began with what is done."""
    done = len(session.completed)
    stages = (flow[done] for flow in session.flows if len(flow) > done and flow[:done] == session.completed)
    return tuple(dict.fromkeys(stages))


def check_stage(session: UiaSession, stage: str) -> Step:
    """Whether a stage may be attempted now. Stages must be done in the order of a flow, and only once."""
    if stage in session.completed:
        return Step.ALREADY_DONE
    return Step.ATTEMPT if stage in next_stages(session) else Step.OUT_OF_ORDER


def complete(session: UiaSession, stage: str) -> UiaSession:
    """The session after a stage for which `check_stage` said `Step.ATTEMPT` went well."""
    if check_stage(session, stage) is not Step.ATTEMPT:
        raise ValueError(f"{stage} cannot be completed after {session.completed}")
    return replace(session, completed=(*session.completed, stage))


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthData:
    """The ``auth`` of a request.

    Spec: client-server-api/#user-interactive-api-in-the-rest-api
    """

    session_id: str | None
    stage: str | None
    """``None`` when the client only asks whether a stage was done by other means."""
    submitted: Mapping[str, Any]
    """The whole object, with what the stage asks for."""


def parse_auth(body: Mapping[str, Any]) -> AuthData | None:
    """The ``auth`` of a request's body, ``None`` when it asks for nothing. Raises `Malformed`.

    Clients send ``null`` and ``{}`` too before they know the flows.
    """
    auth = body.get("auth")
    if auth is None:
        return None
    if not isinstance(auth, Mapping):
        raise Malformed("auth must be an object")
    stage, session_id = auth.get("type"), auth.get("session")
    if stage is not None and not isinstance(stage, str):
        raise Malformed("auth.type must be a string")
    if session_id is not None and (not isinstance(session_id, str) or len(session_id) > SESSION_CHARS_MAX):
        raise Malformed(f"auth.session must be a string of at most {SESSION_CHARS_MAX} characters")
    if stage is None and session_id is None:
        return None
    return AuthData(session_id=session_id, stage=stage, submitted=auth)


def build_auth_required(
    session: UiaSession, *, errcode: Errcode | None = None, error: str | None = None
) -> dict[str, Any]:
    """The body of the 401 that asks for the next stage; with an error when a stage went wrong and may be tried again.

    Spec: client-server-api/#user-interactive-api-in-the-rest-api
    """
    body: dict[str, Any] = {
        "flows": [{"stages": list(flow)} for flow in session.flows],
        "params": dict(session.params),
        "session": session.session_id,
    }
    if session.completed:
        body["completed"] = list(session.completed)
    if errcode is not None:
        body["errcode"] = errcode.value
        body["error"] = error or ""
    return body
