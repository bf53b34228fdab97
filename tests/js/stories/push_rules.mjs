// Push rules: changed by operations, heard of by sync, and what they make of a message.
import assert from "node:assert/strict";
import { createRoom, say, until } from "../world.mjs";

export default async function play(world) {
    const alice = await world.register("alice");
    const bob = await world.register("bob");
    const roomId = await createRoom(alice, [bob]);
    await world.start(alice);
    await world.start(bob);
    const find = (kind, id) => bob.pushRules.global[kind].find((rule) => rule.rule_id === id);

    world.step("the rules a user begins with");
    const rules = await bob.getPushRules();
    assert.deepEqual(rules.global, bob.pushRules.global);
    assert.ok(rules.global.override.some((rule) => rule.rule_id === ".m.rule.master" && !rule.enabled));

    world.step("a word");
    await bob.addPushRule("global", "content", "kettle", { pattern: "kettle", actions: ["notify", { set_tweak: "highlight" }] });
    await until(bob, () => find("content", "kettle"));
    const eventId = await say(alice, roomId, "the Kettle boils");
    const event = await until(bob, () => bob.getRoom(roomId).findEventById(eventId));
    assert.deepEqual(bob.getPushActionsForEvent(event, true), { notify: true, tweaks: { highlight: true } });
    await until(bob, () => bob.getRoom(roomId).getRoomUnreadNotificationCount("highlight") === 1);

    world.step("switched off and on");
    await bob.setPushRuleEnabled("global", "content", "kettle", false);
    await until(bob, () => find("content", "kettle")?.enabled === false);
    await bob.setPushRuleEnabled("global", "content", "kettle", true);
    await until(bob, () => find("content", "kettle")?.enabled === true);

    world.step("other actions");
    await bob.setPushRuleActions("global", "content", "kettle", ["notify"]);
    await until(bob, () => find("content", "kettle").actions.length === 1);
    await bob.setPushRuleActions("global", "underride", ".m.rule.message", []);
    await until(bob, () => find("underride", ".m.rule.message").actions.length === 0);

    world.step("a room that is muted");
    await bob.setRoomMutePushRule("global", roomId, true);
    await until(bob, () => bob.getRoomPushRule("global", roomId) ?? find("override", roomId));
    const before = bob.getRoom(roomId).getRoomUnreadNotificationCount("total");
    const muted = await say(alice, roomId, "nobody hears this");
    await until(bob, () => bob.getRoom(roomId).findEventById(muted));
    assert.equal(bob.getRoom(roomId).getRoomUnreadNotificationCount("total"), before);

    world.step("deleted");
    await bob.deletePushRule("global", "content", "kettle");
    await until(bob, () => !find("content", "kettle"));
    assert.deepEqual((await bob.getPushRules()).global, bob.pushRules.global);
}
