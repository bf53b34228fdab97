// Filters, and members that are loaded when they are needed.
import assert from "node:assert/strict";
import { Filter } from "matrix-js-sdk";
import { createRoom, say, until } from "../world.mjs";

const MEMBERS = 12;

export default async function play(world) {
    const alice = await world.register("alice");
    const others = [];
    for (let number = 0; number < MEMBERS; number++) others.push(await world.register(`member${number}`));
    const roomId = await createRoom(alice, others, { name: "Hall" });
    for (let number = 0; number < 30; number++) await say(alice, roomId, `noise ${number}`);
    await say(others[0], roomId, "hello");
    await say(others[1], roomId, "good evening");

    world.step("a first sync without the members that say nothing");
    const viewer = await world.logIn(alice);
    await world.start(viewer, { lazyLoadMembers: true, initialSyncLimit: 5 });
    const room = viewer.getRoom(roomId);
    const loaded = room.currentState.getMembers().map((member) => member.userId);
    for (const shown of [alice, others[0], others[1]]) assert.ok(loaded.includes(shown.getUserId()));
    assert.ok(loaded.length < MEMBERS + 1, `${loaded.length} members were told`);
    assert.equal(room.getJoinedMemberCount(), MEMBERS + 1);

    world.step("the member of who speaks next comes along");
    const speaker = others[MEMBERS - 1];
    const eventId = await say(speaker, roomId, "me too");
    const event = await until(viewer, () => room.findEventById(eventId));
    assert.equal(event.sender.membership, "join");

    world.step("and of who spoke long ago, with the page");
    await viewer.scrollback(room, 100);
    assert.equal(room.getLiveTimeline().getEvents().filter((it) => it.getType() === "m.room.message").length, 33);

    world.step("all of them when somebody asks");
    await room.loadMembersIfNeeded();
    assert.equal(room.getJoinedMembers().length, MEMBERS + 1);

    world.step("a filter that is kept");
    const definition = { room: { timeline: { types: ["m.room.message"], senders: [others[0].getUserId()], limit: 10 } } };
    const filter = await alice.createFilter(definition);
    const kept = await alice.getFilter(alice.getUserId(), filter.filterId, false);
    assert.deepEqual(kept.getDefinition(), definition);

    world.step("a timeline by that filter");
    const chosen = new Filter(alice.getUserId());
    chosen.setDefinition(definition);
    const page = await alice.createMessagesRequest(roomId, null, 100, "b", chosen);
    assert.deepEqual(page.chunk.map((it) => it.content.body), ["hello"]);

    world.step("a sync by that filter");
    const tablet = await world.logIn(alice);
    await world.start(tablet, { filter: await tablet.createFilter(definition) });
    const bodies = tablet.getRoom(roomId).getLiveTimeline().getEvents();
    assert.deepEqual(bodies.map((it) => it.getContent().body), ["hello"]);
    await say(alice, roomId, "more noise");
    await say(others[0], roomId, "hello again");
    await until(tablet, () => tablet.getRoom(roomId).getLiveTimeline().getEvents().length === 2);
    assert.equal(tablet.getRoom(roomId).getLiveTimeline().getEvents()[1].getContent().body, "hello again");
}
