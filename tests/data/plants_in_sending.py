"""What can be wrong with what waits for other servers."""

from __future__ import annotations

from kvschema.catalog import sending
from kvschema.catalog.rooms import ShortRoomId
from kvschema.catalog.sending import QueuedEdu
from tests.data.planting import NOBODY, Planter, Plants

PLANTS = Plants()


@PLANTS.add("servernameevent_data: ServerPos(* is the event 77, which there is not")
def a_queued_event_that_is_not_stored(planter: Planter) -> None:
    key, _ = planter.first(sending.SERVERNAMEPOS_EVENT)
    planter.put(sending.SERVERNAMEPOS_EVENT, key, NOBODY)


@PLANTS.add("servernameroom_lastevent: ServerRoom(* is the event *, which is not in it")
def a_last_event_of_another_room(planter: Planter) -> None:
    key, event = planter.first(sending.SERVERNAMEROOM_EVENT)
    planter.put(sending.SERVERNAMEROOM_EVENT, key._replace(room=ShortRoomId(NOBODY)), event)


@PLANTS.add("servernameedu_data: ServerPos(* is no EDU")
def a_queued_edu_without_a_type(planter: Planter) -> None:
    key, _ = planter.first(sending.SERVERNAMEPOS_EDU)
    planter.put(sending.SERVERNAMEPOS_EDU, key, QueuedEdu(b"{}"))


@PLANTS.add("servernameedu_data: ServerPos(* is not canonical")
def a_queued_edu_that_is_not_canonical(planter: Planter) -> None:
    key, _ = planter.first(sending.SERVERNAMEPOS_EDU)
    planter.put(sending.SERVERNAMEPOS_EDU, key, QueuedEdu(b'{"edu_type":"m.typing","content":{}}'))


@PLANTS.add("servername_sending: ByServer(* has nothing on its way")
def a_transaction_without_an_id(planter: Planter) -> None:
    key, row = planter.first(sending.SERVERNAME_SENDING)
    planter.put(sending.SERVERNAME_SENDING, key, row._replace(txn_id=""))


@PLANTS.add("servername_sending: ByServer(* reaches past")
def a_transaction_of_what_is_to_come(planter: Planter) -> None:
    key, row = planter.first(sending.SERVERNAME_SENDING)
    planter.put(sending.SERVERNAME_SENDING, key, row._replace(event_until=1 << 62))
