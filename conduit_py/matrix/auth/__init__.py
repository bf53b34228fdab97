"""Whether an event is allowed: the authorisation rules of every room version, and the selection of auth events.

``check_auth_events`` judges the list of auth events that an event names; ``check_event`` judges the event against a
state, be it that of its auth events, the one before it, or the current one. Both are pure and never raise, whatever
JSON a remote server has put into an event of the right format. The answer is ``None`` or ``Denied(rule, why)``.

Spec: server-server-api/#authorisation-rules, rooms/v12/#authorisation-rules
"""

from __future__ import annotations

from conduit_py.matrix.auth.rules import check_auth_events, check_event
from conduit_py.matrix.auth.select import select_auth_types
from conduit_py.matrix.auth.verdict import Denied, GetState, Verdict

__all__ = ["Denied", "GetState", "Verdict", "check_auth_events", "check_event", "select_auth_types"]
