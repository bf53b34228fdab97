// Accounts and sessions.
import assert from "node:assert/strict";
import { PASSWORD, refused } from "../world.mjs";

export default async function play(world) {
    world.step("register");
    const alice = await world.register("alice");
    const whoami = await alice.whoami();
    assert.equal(whoami.user_id, alice.getUserId());
    assert.equal(whoami.device_id, alice.getDeviceId());

    world.step("log in by password");
    const flows = (await world.client().loginFlows()).flows.map((flow) => flow.type);
    assert.ok(flows.includes("m.login.password"));
    const phone = await world.logIn(alice);
    assert.notEqual(phone.getDeviceId(), alice.getDeviceId());
    const devices = (await alice.getDevices()).devices.map((device) => device.device_id);
    assert.deepEqual(devices.sort(), [alice.getDeviceId(), phone.getDeviceId()].sort());

    world.step("a wrong password");
    const identifier = { type: "m.id.user", user: alice.getUserId() };
    const wrong = { type: "m.login.password", identifier, password: `not ${PASSWORD}` };
    await refused(world.client().loginRequest(wrong), 403, "M_FORBIDDEN");

    world.step("a name and a face");
    await alice.setDisplayName("Alice");
    await alice.setAvatarUrl("mxc://one.test/face");
    const profile = await phone.getProfileInfo(alice.getUserId());
    assert.deepEqual(profile, { displayname: "Alice", avatar_url: "mxc://one.test/face" });

    world.step("a refresh token");
    const session = await world
        .client()
        .loginRequest({ type: "m.login.password", identifier, password: PASSWORD, refresh_token: true });
    assert.ok(session.refresh_token);
    const refreshed = await world.client().refreshToken(session.refresh_token);
    assert.notEqual(refreshed.access_token, session.access_token);
    const tablet = world.client({ ...session, access_token: refreshed.access_token });
    assert.equal((await tablet.whoami()).device_id, session.device_id);

    world.step("log out");
    await phone.logout();
    await refused(phone.whoami(), 401, "M_UNKNOWN_TOKEN");
    assert.equal((await alice.whoami()).user_id, alice.getUserId());

    world.step("versions and capabilities");
    assert.ok(await alice.isVersionSupported("v1.11"));
    const capabilities = await alice.getCapabilities();
    assert.equal(capabilities["m.change_password"].enabled, true);
    assert.ok(capabilities["m.room_versions"].default in capabilities["m.room_versions"].available);
}
