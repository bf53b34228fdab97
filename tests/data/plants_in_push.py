"""What can be wrong with pushers, with what the check must say of it."""

from __future__ import annotations

from kvschema.catalog import push
from kvschema.catalog.rooms import ShortUserId
from tests.data.planting import NOBODY, Planter, Plants

PLANTS = Plants()


@PLANTS.add("senderkey_pusher: PusherKey(* is the pusher of 'another'")
def a_pusher_under_another_key(planter: Planter) -> None:
    key, row = planter.first(push.SENDERKEY_PUSHER)
    planter.put(push.SENDERKEY_PUSHER, key, row._replace(pushkey="another"))


@PLANTS.add("senderkey_pusher: PusherKey(* is of the device 'GONE'")
def a_pusher_of_a_device_that_is_gone(planter: Planter) -> None:
    key, row = planter.first(push.SENDERKEY_PUSHER)
    planter.put(push.SENDERKEY_PUSHER, key, row._replace(device_id="GONE"))


@PLANTS.add("senderkey_pusher: PusherKey(* has got nowhere")
def a_pusher_that_has_got_nowhere(planter: Planter) -> None:
    planter.drop_first(push.SENDERKEY_PUSHED)


@PLANTS.add("senderkey_pushed: PusherKey(* is no pusher")
def a_place_of_no_pusher(planter: Planter) -> None:
    key, row = planter.first(push.SENDERKEY_PUSHED)
    planter.put(push.SENDERKEY_PUSHED, key._replace(digest=bytes(16)), row)


@PLANTS.add("senderkey_pushed: PusherKey(* has got to 9")
def a_pusher_ahead_of_everything(planter: Planter) -> None:
    key, row = planter.first(push.SENDERKEY_PUSHED)
    planter.put(push.SENDERKEY_PUSHED, key, row._replace(pos=9 * 10**18))


@PLANTS.add("pushkey_userid: PushkeyUser(* is missing")
def a_pushkey_that_leads_to_nobody(planter: Planter) -> None:
    planter.drop_first(push.PUSHKEY_USER)


@PLANTS.add("pushkey_userid: PushkeyUser(* follows from nothing")
def a_pushkey_of_somebody_without_a_pusher(planter: Planter) -> None:
    key, _ = planter.first(push.PUSHKEY_USER)
    planter.put(push.PUSHKEY_USER, key._replace(user=ShortUserId(NOBODY)), None)
