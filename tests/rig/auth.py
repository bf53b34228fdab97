"""What users submit to prove again who they are."""

from __future__ import annotations

from typing import Any

from tests.rig.client import Client


def by_password(user: Client, password: str | None = None) -> dict[str, Any]:
    """``auth`` of a request, complete in one go."""
    return {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user.user_id},
        "password": user.password if password is None else password,
    }
