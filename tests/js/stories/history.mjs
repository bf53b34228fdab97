// A long room, read back to its beginning: nothing is missing, nothing comes twice.
import assert from "node:assert/strict";
import { createRoom, say } from "../world.mjs";

const SENDERS = 8;
const MESSAGES = 5_000;

async function sendAll(world, roomId, users) {
    const sent = [];
    await Promise.all(
        users.map(async (user, index) => {
            for (let number = index; number < MESSAGES; number += SENDERS) {
                // Not by the client's queue, which keeps an echo of all it sends.
                const path = `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/t${number}`;
                const { event_id } = await user.http.authedRequest("PUT", path, {}, { msgtype: "m.text", body: `${number}` });
                sent.push(event_id);
            }
        }),
    );
    return sent;
}

export default async function play(world) {
    const users = [];
    for (let number = 0; number < SENDERS; number++) users.push(await world.register(`user${number}`));
    const [alice, ...others] = users;
    const roomId = await createRoom(alice, others, { name: "Chronicle" });

    world.step(`${MESSAGES} messages`);
    const sent = await sendAll(world, roomId, users);
    assert.equal(new Set(sent).size, MESSAGES);

    world.step("a client that scrolls back from its first sync");
    await world.start(alice, { initialSyncLimit: 17 });
    const room = alice.getRoom(roomId);
    while (room.oldState.paginationToken !== null) await alice.scrollback(room, 250);
    const shown = room.getLiveTimeline().getEvents();
    assert.equal(shown[0].getType(), "m.room.create");
    assert.equal(new Set(shown.map((event) => event.getId())).size, shown.length, "some came twice");
    const texts = shown.filter((event) => event.getType() === "m.room.message").map((event) => event.getId());
    assert.deepEqual(texts.toSorted(), sent.toSorted());

    world.step("pages of odd sizes, backwards and forwards, say the same");
    const all = shown.map((event) => event.getId());
    assert.deepEqual((await readAll(alice, roomId, "b", 997)).toReversed(), all);
    assert.deepEqual(await readAll(alice, roomId, "f", 333), all);

    world.step("while others go on talking");
    const before = readAll(alice, roomId, "b", 100);
    const more = [];
    for (let number = 0; number < 50; number++) more.push(await say(others[0], roomId, `more ${number}`));
    const seen = (await before).toReversed();
    assert.equal(new Set(seen).size, seen.length);
    assert.deepEqual(seen.filter((id) => !more.includes(id)), all);

    world.step("from the middle, both ways");
    const middle = all[Math.floor(all.length / 2)];
    const set = room.getUnfilteredTimelineSet();
    const timeline = await alice.getEventTimeline(set, middle);
    while (await alice.paginateEventTimeline(timeline, { backwards: true, limit: 500 }));
    assert.equal(timeline.getEvents()[0].getId(), all[0]);
}

async function readAll(client, roomId, direction, limit) {
    const found = [];
    let from = null;
    do {
        const page = await client.createMessagesRequest(roomId, from, limit, direction);
        found.push(...page.chunk.map((event) => event.event_id));
        from = page.end;
    } while (from);
    return found;
}
