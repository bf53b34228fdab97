"""How a session that was opened, or refreshed, is told to the client."""

from __future__ import annotations

from typing import Any

from conduit_py.api.fields import Body, get_field
from conduit_py.service.users.sessions import DeviceRequest, Session
from conduit_py.service.users.tokens import Tokens


def read_device_request(body: Body, address: str) -> DeviceRequest:
    """What a body of ``/login`` or ``/register`` says about the device."""
    return DeviceRequest(
        device_id=get_field(body, "device_id", str),
        display_name=get_field(body, "initial_device_display_name", str),
        may_refresh=get_field(body, "refresh_token", bool) or False,
        address=address,
    )


def render_tokens(tokens: Tokens) -> dict[str, Any]:
    answer: dict[str, Any] = {"access_token": tokens.access_token}
    if tokens.refresh_token is not None:
        answer["refresh_token"] = tokens.refresh_token
    if tokens.expires_in_ms is not None:
        answer["expires_in_ms"] = tokens.expires_in_ms
    return answer


def render_session(session: Session) -> dict[str, Any]:
    return {"user_id": session.user_id, "device_id": session.device_id, **render_tokens(session.tokens)}
