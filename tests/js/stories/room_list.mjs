// The list of rooms: at the first sync, as it changes, and again from the beginning on another device.
import assert from "node:assert/strict";
import { createRoom, say, until } from "../world.mjs";

const names = (client) =>
    client
        .getRooms()
        .filter((room) => room.getMyMembership() === "join")
        .map((room) => room.name)
        .sort();

export default async function play(world) {
    const alice = await world.register("alice");
    const bob = await world.register("bob");

    world.step("initial sync");
    for (const name of ["Garden", "Kitchen"]) await createRoom(alice, [], { name });
    await world.start(alice);
    assert.deepEqual(names(alice), ["Garden", "Kitchen"]);
    await world.start(bob);
    assert.deepEqual(names(bob), []);

    world.step("a room that is made while the client syncs");
    const roomId = await createRoom(alice, [], { name: "Attic", preset: "private_chat" });
    await until(alice, () => names(alice).includes("Attic"));

    world.step("an invite");
    await alice.invite(roomId, bob.getUserId());
    const invited = await until(bob, () => bob.getRoom(roomId));
    assert.equal(invited.getMyMembership(), "invite");
    assert.equal(invited.name, "Attic");
    assert.equal(invited.getDMInviter(), undefined);

    world.step("a join, and what is said from then on");
    await bob.joinRoom(roomId);
    await until(bob, () => bob.getRoom(roomId).getMyMembership() === "join");
    await until(alice, () => alice.getRoom(roomId).getMember(bob.getUserId())?.membership === "join");
    const sent = [];
    for (let number = 0; number < 20; number++) sent.push(await say(alice, roomId, `message ${number}`));
    await until(bob, () => bob.getRoom(roomId).findEventById(sent.at(-1)));
    const shown = bob.getRoom(roomId).getLiveTimeline().getEvents().map((event) => event.getId());
    assert.deepEqual(shown.filter((id) => sent.includes(id)), sent);

    world.step("a name that changes");
    await alice.setRoomName(roomId, "Loft");
    await until(bob, () => bob.getRoom(roomId).name === "Loft");

    world.step("typing and a receipt");
    await alice.sendTyping(roomId, true, 20_000);
    await until(bob, () => bob.getRoom(roomId).getMember(alice.getUserId()).typing);
    await bob.sendReadReceipt(bob.getRoom(roomId).findEventById(sent.at(-1)));
    await until(alice, () => alice.getRoom(roomId).hasUserReadEvent(bob.getUserId(), sent.at(-1)));

    world.step("somebody leaves and forgets");
    await bob.leave(roomId);
    await until(bob, () => bob.getRoom(roomId).getMyMembership() === "leave");
    await until(alice, () => alice.getRoom(roomId).getMember(bob.getUserId()).membership === "leave");
    await bob.forget(roomId);
    assert.equal(bob.getRoom(roomId), null);

    world.step("the same from the beginning on another device");
    const phone = await world.logIn(alice);
    await world.start(phone);
    assert.deepEqual(names(phone), ["Garden", "Kitchen", "Loft"]);
    assert.deepEqual((await alice.getJoinedRooms()).joined_rooms.length, 3);
}
