// Relations by their operation: page by page, of one kind, of a poll.
import assert from "node:assert/strict";
import { createRoom, say, until } from "../world.mjs";

const POLL = {
    "m.poll.start": {
        kind: "m.poll.disclosed",
        max_selections: 1,
        question: { "m.text": "Tea or coffee?" },
        answers: [
            { "id": "tea", "m.text": "Tea" },
            { "id": "coffee", "m.text": "Coffee" },
        ],
    },
    "m.text": "Tea or coffee?",
};

export default async function play(world) {
    const alice = await world.register("alice");
    const others = [];
    for (let number = 0; number < 7; number++) others.push(await world.register(`guest${number}`));
    const roomId = await createRoom(alice, others);

    world.step("a poll and its responses");
    const { event_id: poll } = await alice.sendEvent(roomId, "m.poll.start", POLL);
    const reference = { rel_type: "m.reference", event_id: poll };
    const responses = [];
    for (const [number, guest] of others.entries()) {
        const content = { "m.relates_to": reference, "m.poll.response": { answers: [number < 4 ? "tea" : "coffee"] } };
        responses.push((await guest.sendEvent(roomId, "m.poll.response", content)).event_id);
    }
    await say(alice, roomId, "a reference that is no response", { "m.relates_to": reference });

    world.step("all of them, newest first, by pages of three");
    const found = [];
    let from;
    do {
        const page = await alice.relations(roomId, poll, "m.reference", "m.poll.response", { limit: 3, from });
        assert.equal(page.originalEvent.getId(), poll);
        assert.ok(page.events.length <= 3);
        found.push(...page.events.map((event) => event.getId()));
        from = page.nextBatch;
    } while (from);
    assert.deepEqual(found, responses.toReversed());

    world.step("the oldest first");
    const forwards = await alice.relations(roomId, poll, "m.reference", "m.poll.response", { dir: "f", limit: 50 });
    assert.deepEqual(forwards.events.map((event) => event.getId()), responses);

    world.step("relations of relations");
    const thread = { rel_type: "m.thread", event_id: await say(alice, roomId, "why?") };
    const because = await say(alice, roomId, "because", { "m.relates_to": thread });
    const annotation = { rel_type: "m.annotation", event_id: because, key: "🫖" };
    const { event_id: reaction } = await others[0].sendEvent(roomId, "m.reaction", { "m.relates_to": annotation });
    const deep = await alice.relations(roomId, thread.event_id, null, null, { recurse: true });
    assert.deepEqual(deep.events.map((event) => event.getId()).sort(), [because, reaction].sort());
    const shallow = await alice.relations(roomId, thread.event_id, null, null, {});
    assert.deepEqual(shallow.events.map((event) => event.getId()), [because]);

    world.step("counted by a client, until it is closed");
    await world.start(alice, { initialSyncLimit: 50 });
    const room = alice.getRoom(roomId);
    await until(alice, () => room.polls.get(poll));
    const counted = await room.polls.get(poll).getResponses();
    assert.deepEqual(counted.getRelations().map((event) => event.getId()).sort(), responses.toSorted());
    await alice.sendEvent(roomId, "m.poll.end", { "m.relates_to": reference, "m.poll.end": {}, "m.text": "closed" });
    await until(alice, () => room.polls.get(poll).isEnded);
}
