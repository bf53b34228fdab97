// Spaces, as a client walks them.
import assert from "node:assert/strict";
import { RoomHierarchy } from "matrix-js-sdk/lib/room-hierarchy.js";
import { createRoom } from "../world.mjs";

const space = (name) => ({ name, creation_content: { type: "m.space" } });

export default async function play(world) {
    const alice = await world.register("alice");
    const bob = await world.register("bob");
    const contain = (parent, child, content = {}) =>
        alice.sendStateEvent(parent, "m.space.child", { via: ["one.test"], ...content }, child);

    world.step("a space with rooms and a space in it");
    const house = await createRoom(alice, [bob], space("House"));
    const cellar = await createRoom(alice, [], space("Cellar"));
    const wine = await createRoom(alice, [], { name: "Wine" });
    const attic = await createRoom(alice, [], { name: "Attic", preset: "private_chat" });
    const rooms = [];
    for (let number = 0; number < 6; number++) {
        rooms.push(await createRoom(alice, [], { name: `Room ${number}` }));
        await contain(house, rooms[number], { order: String(number), suggested: number === 0 });
    }
    await contain(house, cellar, { order: "7" });
    await contain(house, attic, { order: "8" });
    await contain(cellar, wine);
    await contain(cellar, house);

    world.step("walk it by pages of three");
    await world.start(bob);
    const hierarchy = new RoomHierarchy(bob.getRoom(house), 3);
    let pages = 0;
    while (hierarchy.canLoadMore) {
        await hierarchy.load();
        pages++;
    }
    assert.equal(hierarchy.noSupport, false);
    assert.deepEqual(hierarchy.rooms.map((room) => room.room_id), [house, ...rooms, cellar, wine]);
    assert.ok(pages >= 3, `${pages} pages`);
    assert.equal(hierarchy.isSuggested(house, rooms[0]), true);
    assert.equal(hierarchy.isSuggested(house, rooms[1]), false);
    assert.deepEqual([...hierarchy.viaMap.get(wine)], ["one.test"]);

    world.step("only so deep, and only what is suggested");
    const shallow = await bob.getRoomHierarchy(house, 50, 1);
    assert.deepEqual(shallow.rooms.map((room) => room.room_id), [house, ...rooms, cellar]);
    const suggested = await bob.getRoomHierarchy(house, 50, 3, true);
    assert.deepEqual(suggested.rooms.map((room) => room.room_id), [house, rooms[0]]);

    world.step("a summary before joining");
    const summary = await bob.getRoomSummary(wine);
    assert.deepEqual([summary.room_id, summary.name, summary.num_joined_members], [wine, "Wine", 1]);
}
