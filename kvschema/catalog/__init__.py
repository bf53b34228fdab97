"""Every tree in the database, in one tuple."""

from __future__ import annotations

from typing import Any

from kvschema.catalog import (
    account_data,
    admin,
    appservices,
    e2ee,
    federation,
    media,
    members,
    push,
    receipts,
    relations,
    rooms,
    search,
    sending,
    server,
    state,
    timeline,
    transactions,
    users,
)
from kvschema.tree import Tree

SCHEMA_VERSION = 1
PRODUCT = "conduit_py"

CATALOG: tuple[Tree[Any, Any], ...] = (
    *server.TREES,
    *rooms.TREES,
    *timeline.TREES,
    *relations.TREES,
    *search.TREES,
    *state.TREES,
    *members.TREES,
    *users.TREES,
    *account_data.TREES,
    *receipts.TREES,
    *push.TREES,
    *transactions.TREES,
    *federation.TREES,
    *sending.TREES,
    *appservices.TREES,
    *e2ee.TREES,
    *media.TREES,
    *admin.TREES,
)
RETIRED: tuple[str, ...] = ()
"""Names that once held data. Never reuse one: old files still contain it."""

TREES_BY_NAME = {tree.name: tree for tree in CATALOG}
