"""What can be wrong with what waits for application services."""

from __future__ import annotations

from kvschema.catalog import appservices
from kvschema.catalog.rooms import ShortRoomId
from tests.data.planting import NOBODY, Planter, Plants

PLANTS = Plants()


@PLANTS.add("appserviceidpos_event: AppServicePos(* is the event 77, which there is not")
def an_event_for_an_appservice_that_is_not_stored(planter: Planter) -> None:
    key, _ = planter.first(appservices.APPSERVICEIDPOS_EVENT)
    planter.put(appservices.APPSERVICEIDPOS_EVENT, key, NOBODY)


@PLANTS.add("appserviceidpos_outside: AppServicePos(* is no event")
def an_event_for_an_appservice_that_is_none(planter: Planter) -> None:
    key, _ = planter.first(appservices.APPSERVICEIDPOS_OUTSIDE)
    planter.put(appservices.APPSERVICEIDPOS_OUTSIDE, key, b"{}")


@PLANTS.add("appserviceidpos_outside: at AppServicePos(* waits another event")
def two_events_for_an_appservice_at_one_place(planter: Planter) -> None:
    key, _ = planter.first(appservices.APPSERVICEIDPOS_EVENT)
    planter.put(appservices.APPSERVICEIDPOS_OUTSIDE, key, b'{"event_id":"$invite"}')


@PLANTS.add("appserviceid_sending: ByAppService(* has nothing on its way")
def a_transaction_to_an_appservice_without_an_id(planter: Planter) -> None:
    key, row = planter.first(appservices.APPSERVICEID_SENDING)
    planter.put(appservices.APPSERVICEID_SENDING, key, row._replace(txn_id=""))


@PLANTS.add("appserviceid_sending: ByAppService(* reaches past")
def a_transaction_to_an_appservice_of_what_is_to_come(planter: Planter) -> None:
    key, row = planter.first(appservices.APPSERVICEID_SENDING)
    planter.put(appservices.APPSERVICEID_SENDING, key, row._replace(until=1 << 62))


@PLANTS.add("instanceidroomid: there is no room 77")
def a_listed_room_of_a_network_that_there_is_not(planter: Planter) -> None:
    key, _ = planter.first(appservices.INSTANCEIDROOMID)
    planter.put(appservices.INSTANCEIDROOMID, key._replace(room=ShortRoomId(NOBODY)), None)
