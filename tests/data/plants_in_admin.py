"""What can be wrong with the Admin Room."""

from __future__ import annotations

from kvschema.catalog import admin, server
from kvschema.catalog.admin import AdminCommand
from kvschema.catalog.rooms import ShortEventId
from kvschema.catalog.server import ByName
from kvschema.catalog.timeline import ByShortEvent
from tests.data.planting import NOBODY, Planter, Plants

PLANTS = Plants()


@PLANTS.add("global: the Admin Room is !nowhere, which there is not")
def an_admin_room_that_there_is_not(planter: Planter) -> None:
    planter.put(server.GLOBAL, ByName("admin_room"), b"!nowhere")


@PLANTS.add("admincommand: 77 is no message in the Admin Room")
def a_command_that_is_no_message(planter: Planter) -> None:
    planter.put(admin.ADMINCOMMAND, ByShortEvent(ShortEventId(NOBODY)), AdminCommand())
