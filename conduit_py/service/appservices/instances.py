"""How an instance of a network is named among those of all application services.

Spec: client-server-api/#get_matrixclientv3thirdpartyprotocols_response-200_protocol-instance
"""

from __future__ import annotations


def instance_id(appservice_id: str, network_id: str) -> str:
    """Network ids are unique within an application service, and only there."""
    return f"{appservice_id}|{network_id}"
