"""What can be wrong with the indexes over events, with what the check must say of it."""

from __future__ import annotations

from kvschema.catalog import search, timeline
from tests.data.planting import Planter, Plants

PLANTS = Plants()


@PLANTS.add("roomtime_shorteventid: RoomTime*is missing")
def an_event_that_no_time_leads_to(planter: Planter) -> None:
    planter.drop_first(timeline.ROOMTIME_SHORTEVENTID)


@PLANTS.add("roomtime_shorteventid: RoomTime*follows from nothing")
def an_event_at_another_time(planter: Planter) -> None:
    key, event = planter.first(timeline.ROOMTIME_SHORTEVENTID)
    planter.put(timeline.ROOMTIME_SHORTEVENTID, key._replace(ts_ms=key.ts_ms + 1), event)


@PLANTS.add("roomtime_shorteventid: RoomTime*holds")
def another_event_at_a_time(planter: Planter) -> None:
    key, event = planter.first(timeline.ROOMTIME_SHORTEVENTID)
    planter.put(timeline.ROOMTIME_SHORTEVENTID, key, event + 1)


@PLANTS.add("tokenids: RoomWordPos*is missing")
def an_event_that_a_word_does_not_lead_to(planter: Planter) -> None:
    planter.drop_first(search.TOKENIDS)


@PLANTS.add("tokenids: RoomWordPos*follows from nothing")
def an_event_without_the_word_that_leads_to_it(planter: Planter) -> None:
    key, _ = planter.first(search.TOKENIDS)
    planter.put(search.TOKENIDS, key._replace(word="other"), None)
