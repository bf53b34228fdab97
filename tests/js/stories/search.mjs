// Search in what was said.
import assert from "node:assert/strict";
import { createRoom, say } from "../world.mjs";

const bodies = (found) => found.results.map((result) => result.context.getEvent().getContent().body);

export default async function play(world) {
    const alice = await world.register("alice");
    const bob = await world.register("bob");
    const shared = await createRoom(alice, [bob]);
    const secret = await createRoom(alice, [], { preset: "private_chat" });
    const said = [];
    for (let number = 0; number < 25; number++) {
        said.push(`the kettle boils ${number}`);
        await say(alice, shared, said.at(-1));
        await say(alice, shared, `something else ${number}`);
    }
    await say(alice, secret, "a kettle that is nobody's business");

    world.step("newest first, page by page");
    const found = await bob.searchRoomEvents({ term: "kettle", filter: { limit: 10 } });
    assert.equal(found.count, 25);
    while (found.next_batch) await bob.backPaginateRoomEventsSearch(found);
    assert.deepEqual(bodies(found), said.toReversed());

    world.step("what came before and after");
    const last = found.results[0].context;
    const around = last.getTimeline().map((event) => event.getContent().body);
    assert.deepEqual(around.slice(around.indexOf("the kettle boils 24")), ["the kettle boils 24", "something else 24"]);

    world.step("in the rooms of whoever asks");
    const hers = await alice.searchRoomEvents({ term: "kettle", filter: { limit: 50 } });
    assert.equal(hers.count, 26);
    const there = await alice.searchRoomEvents({ term: "kettle", filter: { rooms: [secret] } });
    assert.deepEqual(bodies(there), ["a kettle that is nobody's business"]);

    world.step("nothing");
    assert.deepEqual(bodies(await bob.searchRoomEvents({ term: "coffee" })), []);

    world.step("people");
    const people = await alice.searchUserDirectory({ term: "search-bob" });
    assert.deepEqual(people.results.map((it) => it.user_id), [bob.getUserId()]);
}
