"""The one device of a user that nobody is logged in to."""

from __future__ import annotations

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import e2ee
from kvschema.catalog.e2ee import DehydratedDevice
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import ByUser

__all__ = ["DehydratedDevice", "get_dehydrated", "stage_dehydrated", "stage_removed"]


def get_dehydrated(snapshot: Snapshot, user: ShortUserId) -> DehydratedDevice | None:
    return e2ee.DEHYDRATED.get(snapshot, ByUser(user))


def stage_dehydrated(turn: Turn, user: ShortUserId, device: DehydratedDevice) -> None:
    turn.batch.put(e2ee.DEHYDRATED, ByUser(user), device)


def stage_removed(turn: Turn, user: ShortUserId) -> None:
    turn.batch.delete(e2ee.DEHYDRATED, ByUser(user))
