"""The metrics tell what happened in the server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

from conduit_py.api.app import build_metrics_app
from conduit_py.http.in_process import AppClient
from conduit_py.matrix.ids import ServerName
from conduit_py.measuring import destinations_by_state, waiting_by_kind
from conduit_py.service.health import Health
from conduit_py.service.sending.backlog import Backlogs
from conduit_py.service.sending.senders import Senders
from kvschema.catalog import CATALOG
from kvschema.engine.lmdb import LmdbEngine
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole


async def read(whole: WholeServer) -> dict[str, float]:
    health = Health(whole.store.writer, lambda: 0)
    reply = await AppClient(build_metrics_app(whole.metrics, health)).request("GET", "/metrics")
    samples = re.findall(r"^([a-z_]+(?:\{.*\})?) (\S+)$", reply.body.decode(), re.MULTILINE)
    return {name: float(value) for name, value in samples}


async def test_writes_requests_and_memory_are_told(server: Server) -> None:
    async with open_whole(server) as whole:
        before = await read(whole)
        alice = await whole.register("alice")
        room_id = (await alice.post("/createRoom", {})).json["room_id"]
        await alice.put(f"/rooms/{room_id}/send/m.room.message/1", {"body": "hi", "msgtype": "m.text"})
        after = await read(whole)
    sent = '{method="PUT",route="/_matrix/client/v3/rooms/<room_id>/send/<event_type>/<txn_id>",status="200"}'
    assert after[f"conduit_py_http_requests_total{sent}"] == 1
    for name in ("commits_total", "commit_seconds_count", "sync_seconds_count"):
        assert after[f"conduit_py_database_{name}"] > before.get(f"conduit_py_database_{name}", 0)
    assert after["conduit_py_database_commits_waiting"] >= 0
    assert after["conduit_py_disk_full"] == 0
    assert 0 < after["conduit_py_anonymous_memory_bytes"] <= after["process_resident_memory_bytes"]


async def test_methods_that_clients_make_up_are_counted_together(server: Server) -> None:
    async with open_whole(server) as whole:
        for method in ("BREW", "WHEN"):
            await whole.client().request(method, "/_matrix/client/versions")
        after = await read(whole)
    counted = {name: value for name, value in after.items() if name.startswith("conduit_py_http_requests_total")}
    assert counted == {'conduit_py_http_requests_total{method="other",route="other",status="405"}': 2}


async def test_full_disk_is_told(server: Server) -> None:
    async with open_whole(server) as whole:
        server.store.writer.is_full = True
        assert (await read(whole))["conduit_py_disk_full"] == 1


async def test_what_waits_for_other_servers_is_counted(server: Server) -> None:
    backlogs = Backlogs()
    senders = Senders(server.store, backlogs, cast("Any", None), requests_max=10, is_allowed=True)
    for name, failing_since_ms in (("two.test", 0), ("three.test", 1)):
        backlog = backlogs.open(ServerName(name))
        backlog.events, backlog.edus = 2, 1
        backlog.state = backlog.state._replace(failing_since_ms=failing_since_ms)
    assert waiting_by_kind(senders) == {"events": 4, "edus": 2}
    assert destinations_by_state(senders) == {"sending": 0, "failing": 1, "waiting": 1}


def test_size_of_the_database_is_told(tmp_path: Path) -> None:
    engine = LmdbEngine(tmp_path / "db", [tree.name for tree in CATALOG], reserve_bytes=0)
    sizes = engine.measure()
    engine.close()
    assert 0 <= sizes["trees"] <= sizes["pages"] <= sizes["map"] <= (tmp_path / "db" / "data.mdb").stat().st_size
    assert sizes["disk_free"] > 0
