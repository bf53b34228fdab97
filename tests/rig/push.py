"""Push gateways without a network, and pushers that lead to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import trio
import trio.testing

from conduit_py.outbound.errors import Unreachable
from conduit_py.outbound.http import HttpClient, HttpReply, Target
from tests.rig.client import Client, Response

Json = dict[str, Any]
URL = "https://push.test/_matrix/push/v1/notify"


class Gateways(HttpClient):
    """Takes the place of the server's way to all other machines: every host is a push gateway."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Json]] = []
        """Host and notification of each request that was taken."""
        self.tried = 0
        self.times: list[float] = []
        """When there were requests."""
        self.down: set[str] = set()
        """Hosts that cannot be reached."""
        self.status = 200
        self.body: bytes | None = None
        """Instead of a list of what is rejected."""
        self.headers: dict[str, str] = {}
        self.rejected: set[str] = set()
        self.delay_s = 0.0
        self.asking = 0
        self.asking_most = 0

    async def fetch(
        self,
        method: str,
        target: Target,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        bytes_max: int,
        timeout_s: float,
    ) -> HttpReply:
        assert (method, path, target.scheme) == ("POST", "/_matrix/push/v1/notify", "https")
        self.tried += 1
        self.times.append(trio.current_time())
        self.asking += 1
        self.asking_most = max(self.asking, self.asking_most)
        try:
            await trio.sleep(self.delay_s)
        finally:
            self.asking -= 1
        if target.host in self.down:
            raise Unreachable(f"{target.host} is down")
        if self.status == 200 and self.body is None:
            self.told.append((target.host, orjson.loads(body or b"")["notification"]))
        answer = orjson.dumps({"rejected": sorted(self.rejected)}) if self.body is None else self.body
        return HttpReply(self.status, self.headers, answer)

    async def run(self) -> None:
        await trio.sleep_forever()

    async def take(self) -> list[Json]:
        """Notifications that were taken since the last time, when everybody waits for something."""
        await trio.testing.wait_all_tasks_blocked()
        told = [notification for _, notification in self.told]
        self.told.clear()
        return told


def pusher(pushkey: str = "key", *, format: str | None = "event_id_only", url: str = URL, **more: Any) -> Json:
    """The body of a request that sets a pusher."""
    return {
        "kind": "http",
        "app_id": "test.app",
        "pushkey": pushkey,
        "app_display_name": "App",
        "device_display_name": "Phone",
        "lang": "en",
        "data": {"url": url, **({} if format is None else {"format": format})},
        **more,
    }


async def ask_set(user: Client, body: Json) -> Response:
    return await user.post("/pushers/set", body)


async def set_pusher(user: Client, pushkey: str = "key", **more: Any) -> None:
    response = await ask_set(user, pusher(pushkey, **more))
    assert response.status == 200, response.body


async def get_pushkeys(user: Client) -> list[str]:
    return sorted(it["pushkey"] for it in (await user.get("/pushers")).json["pushers"])
