// What stories are told with: users of a server, each with a client of matrix-js-sdk, and patience.
import assert from "node:assert/strict";
import * as sdk from "matrix-js-sdk";

export const PASSWORD = "correct horse battery staple";
const PATIENCE_MS = 30_000;

const SILENT = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, getChild: () => SILENT };

export class World {
    constructor(story, baseUrl) {
        this.story = story;
        this.baseUrl = baseUrl;
        this.steps = [];
        this.clients = [];
    }

    /** Says what the story does next, which the report repeats. */
    step(what) {
        this.steps.push(what);
    }

    /** A client of nobody, or of whom `session` is. */
    client(session = {}) {
        const client = sdk.createClient({
            baseUrl: this.baseUrl,
            userId: session.user_id,
            deviceId: session.device_id,
            accessToken: session.access_token,
            timelineSupport: true,
            logger: SILENT,
        });
        this.clients.push(client);
        return client;
    }

    /** A new user, named after the story as well, so that stories do not meet each other's people. */
    async register(name) {
        const username = `${this.story}-${name}`;
        const auth = { type: "m.login.dummy" };
        return this.client(await this.client().registerRequest({ username, password: PASSWORD, auth }));
    }

    /** Another session of somebody. */
    async logIn(user) {
        const identifier = { type: "m.id.user", user: user.getUserId() };
        return this.client(await this.client().loginRequest({ type: "m.login.password", identifier, password: PASSWORD }));
    }

    /** Begins to sync, and returns when the first answer was taken in. */
    async start(client, options = {}) {
        const synced = waitFor(client, "sync", (state) => state === "PREPARED");
        await client.startClient({ pollTimeout: 10_000, ...options });
        await synced;
    }

    close() {
        for (const client of this.clients) client.stopClient();
    }
}

/** A room that anybody may join, with the others in it. */
export async function createRoom(creator, others = [], options = {}) {
    const { room_id: roomId } = await creator.createRoom({ preset: "public_chat", ...options });
    for (const other of others) await other.joinRoom(roomId);
    return roomId;
}

export async function say(client, roomId, body, more = {}) {
    const { event_id: eventId } = await client.sendMessage(roomId, { msgtype: "m.text", body, ...more });
    return eventId;
}

/** Until an emitter says something that `isIt`. */
export function waitFor(emitter, name, isIt = () => true) {
    return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no ${name} in ${PATIENCE_MS} ms`)), PATIENCE_MS);
        const listener = (...said) => {
            if (!isIt(...said)) return;
            clearTimeout(timer);
            emitter.off(name, listener);
            resolve(said);
        };
        emitter.on(name, listener);
    });
}

/** Until `isSo` gives something, which may change with every answer to a client's sync. */
export async function until(client, isSo, what = String(isSo)) {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
        const found = await isSo();
        if (found) return found;
        assert.ok(Date.now() < deadline, `never came true: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

/** The promise is refused by the server with this. */
export async function refused(promise, status, errcode) {
    await assert.rejects(promise, (error) => {
        assert.deepEqual([error.httpStatus, error.errcode], [status, errcode], String(error));
        return true;
    });
}
