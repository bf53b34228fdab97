"""Asking a policy server for its signature on an event.

Spec: server-server-api/#asking-for-a-policy-server-signature-on-an-event
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from conduit_py.matrix.ids import ServerName
from conduit_py.matrix.policy_server import POLICY_KEY_ID
from conduit_py.outbound.errors import Unreachable
from conduit_py.outbound.federation import Fetcher, build_path

POLICY_TIMEOUT_S: Final = 10.0
"""Whoever sends an event waits for it, and so does everybody else who would write to the room."""
POLICY_BYTES_MAX: Final = 16 * 1024
SIGNATURE_CHARS_MAX: Final = 100
"""An Ed25519 signature is 86 characters of Base64."""


async def fetch_policy_signature(fetcher: Fetcher, destination: ServerName, event: Mapping[str, Any]) -> str:
    """The policy server's signature on an event in the federation format; nothing of it is checked.

    Raises `Refused` where the server does not recommend the event, and `Unreachable`.

    Spec: server-server-api/#post_matrixpolicyv1sign
    """
    path = build_path("_matrix", "policy", "v1", "sign")
    answer = await fetcher.fetch(
        "POST", destination, path, content=event, timeout_s=POLICY_TIMEOUT_S, bytes_max=POLICY_BYTES_MAX
    )
    signatures = answer.get(destination)
    signature = signatures.get(POLICY_KEY_ID) if isinstance(signatures, dict) else None
    if not isinstance(signature, str) or len(signature) > SIGNATURE_CHARS_MAX:
        raise Unreachable(f"{destination} answered without a signature")
    return signature
