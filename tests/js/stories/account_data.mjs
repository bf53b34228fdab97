// Account data, of a user and of a user's rooms, with tags and ignored users.
import assert from "node:assert/strict";
import { createRoom, say, until } from "../world.mjs";

export default async function play(world) {
    const alice = await world.register("alice");
    const bob = await world.register("bob");
    const roomId = await createRoom(alice, [bob]);
    const phone = await world.logIn(alice);
    await world.start(alice);
    await world.start(phone);

    world.step("set, and heard of on another device");
    await alice.setAccountData("org.example.theme", { dark: true });
    await until(phone, () => phone.getAccountData("org.example.theme")?.getContent().dark === true);
    assert.deepEqual(await phone.getAccountDataFromServer("org.example.theme"), { dark: true });
    await phone.setAccountData("org.example.theme", { dark: false });
    await until(alice, () => alice.getAccountData("org.example.theme").getContent().dark === false);

    world.step("of a room");
    await alice.setRoomAccountData(roomId, "org.example.draft", { text: "half a sen" });
    await until(phone, () => phone.getRoom(roomId).getAccountData("org.example.draft")?.getContent().text === "half a sen");

    world.step("tags");
    await alice.setRoomTag(roomId, "m.favourite", { order: 0.25 });
    await until(phone, () => phone.getRoom(roomId).tags["m.favourite"]?.order === 0.25);
    assert.deepEqual(await phone.getRoomTags(roomId), { tags: { "m.favourite": { order: 0.25 } } });
    await phone.deleteRoomTag(roomId, "m.favourite");
    await until(alice, () => !("m.favourite" in alice.getRoom(roomId).tags));

    world.step("ignored users");
    await alice.setIgnoredUsers([bob.getUserId()]);
    await until(phone, () => phone.isUserIgnored(bob.getUserId()));
    const unheard = await say(bob, roomId, "psst");
    const heard = await say(alice, roomId, "quiet here");
    await until(phone, () => phone.getRoom(roomId).findEventById(heard));
    assert.equal(phone.getRoom(roomId).findEventById(unheard), undefined);

    world.step("the same at the next initial sync");
    const tablet = await world.logIn(alice);
    await world.start(tablet);
    assert.deepEqual(tablet.getAccountData("org.example.theme").getContent(), { dark: false });
    assert.deepEqual(tablet.getRoom(roomId).getAccountData("org.example.draft").getContent(), { text: "half a sen" });
    assert.equal(tablet.isUserIgnored(bob.getUserId()), true);
}
