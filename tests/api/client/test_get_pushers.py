"""``GET /_matrix/client/v3/pushers``"""

from __future__ import annotations

from tests.rig.push import pusher, set_pusher
from tests.rig.whole import WholeServer


async def test_get_pushers_tells_what_was_set(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    await set_pusher(alice, "one", profile_tag="tag")
    await set_pusher(alice, "two", format=None)
    one, two = pusher("one", profile_tag="tag"), pusher("two", format=None)
    told = (await alice.get("/pushers")).json["pushers"]
    assert sorted(told, key=lambda it: str(it["pushkey"])) == [one, two]
    assert (await bob.get("/pushers")).json == {"pushers": []}


async def test_get_pushers_missing_token(whole: WholeServer) -> None:
    assert (await whole.client().get("/pushers")).outcome == (401, "M_MISSING_TOKEN")
