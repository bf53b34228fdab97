// Messages and what relates to them: edits, reactions, threads, replies, redactions.
import assert from "node:assert/strict";
import { createRoom, say, until } from "../world.mjs";

// As clients for people start it.
const OPTIONS = { threadSupport: true, pendingEventOrdering: "detached" };

export default async function play(world) {
    const alice = await world.register("alice");
    const bob = await world.register("bob");
    const roomId = await createRoom(alice, [bob], { name: "Tea" });
    await world.start(alice, OPTIONS);
    await world.start(bob, OPTIONS);
    const room = bob.getRoom(roomId);

    world.step("send");
    const tea = await say(alice, roomId, "Tea at four");
    const event = await until(bob, () => room.findEventById(tea));
    assert.equal(event.getContent().body, "Tea at four");
    assert.equal(event.getSender(), alice.getUserId());

    world.step("edit");
    const edited = { msgtype: "m.text", body: "Tea at five" };
    const replace = { rel_type: "m.replace", event_id: tea };
    const edit = await say(alice, roomId, "* Tea at five", { "m.new_content": edited, "m.relates_to": replace });
    await until(bob, () => event.replacingEventId() === edit);
    assert.equal(event.getContent().body, "Tea at five");

    world.step("react");
    const annotation = { rel_type: "m.annotation", event_id: tea, key: "👍" };
    await bob.sendEvent(roomId, "m.reaction", { "m.relates_to": annotation });
    const reactions = await until(alice, () =>
        alice.getRoom(roomId).relations.getChildEventsForEvent(tea, "m.annotation", "m.reaction"),
    );
    await until(alice, () => reactions.getSortedAnnotationsByKey()?.[0]?.[0] === "👍");
    assert.deepEqual([...reactions.getAnnotationsBySender()[bob.getUserId()]].length, 1);

    world.step("reply");
    const reply = await say(bob, roomId, "Good", { "m.relates_to": { "m.in_reply_to": { event_id: tea } } });
    const replied = await until(alice, () => alice.getRoom(roomId).findEventById(reply));
    assert.equal(replied.replyEventId, tea);

    world.step("thread");
    const answers = [];
    room.createThread(tea, event, [], true);
    for (const who of [bob, alice, bob]) {
        const text = { msgtype: "m.text", body: `about tea ${answers.length}` };
        answers.push((await who.sendMessage(roomId, tea, text)).event_id);
        // The library loads a thread at its first message, and takes no other meanwhile.
        for (const reader of [alice, bob]) {
            await until(reader, () => reader.getRoom(roomId).getThread(tea)?.findEventById(answers.at(-1)));
        }
    }
    const thread = alice.getRoom(roomId).getThread(tea);
    await until(alice, () => answers.every((id) => thread.timeline.some((it) => it.getId() === id)));
    assert.equal(thread.hasCurrentUserParticipated, true);
    assert.equal(alice.getRoom(roomId).getLiveTimeline().getEvents().some((it) => answers.includes(it.getId())), false);

    world.step("the same for who comes later");
    const phone = await world.logIn(bob);
    await world.start(phone, OPTIONS);
    const late = phone.getRoom(roomId);
    const root = late.findEventById(tea);
    assert.equal(root.getContent().body, "Tea at five");
    await until(phone, () => late.getThread(tea)?.length === 3);
    await late.createThreadsTimelineSets();
    await late.fetchRoomThreads();
    assert.deepEqual(late.getThreads().map((it) => it.id), [tea]);
    const bundled = await phone.fetchRoomEvent(roomId, tea);
    assert.equal(bundled.unsigned["m.relations"]["m.thread"].count, 3);
    assert.equal(bundled.unsigned["m.relations"]["m.thread"].latest_event.event_id, answers[2]);
    assert.equal(bundled.unsigned["m.relations"]["m.replace"].event_id, edit);

    world.step("redact");
    await bob.redactEvent(roomId, answers[0]);
    // How long a thread is the library counts by itself, and late; what it is told is exact.
    await until(alice, () => alice.getRoom(roomId).findEventById(answers[0])?.isRedacted());
    const { unsigned } = await phone.fetchRoomEvent(roomId, tea);
    assert.equal(unsigned["m.relations"]["m.thread"].count, 2);
    const gone = await phone.fetchRoomEvent(roomId, answers[0]);
    assert.deepEqual(gone.content, {});
    assert.equal(gone.unsigned.redacted_because.sender, bob.getUserId());
}
