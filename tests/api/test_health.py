"""The server's health, as a process manager asks for it."""

from __future__ import annotations

from conduit_py.api.app import build_metrics_app
from conduit_py.http.in_process import AppClient
from conduit_py.metrics import Metrics
from conduit_py.service.health import LAG_S_MAX, Health
from conduit_py.storage.writer import Writer
from tests.rig.server import Server
from tests.rig.whole import open_whole


def app(writer: Writer, lag_s: float = 0) -> AppClient:
    return AppClient(build_metrics_app(Metrics(), Health(writer, lambda: lag_s)))


async def test_health_of_a_server_that_works(server: Server) -> None:
    async with open_whole(server) as whole:
        reply = await whole._app.request("GET", "/health")
    assert reply.status == 200
    assert reply.json() == {"ready": True, "writer": "ok", "disk": "ok", "loop_lag_ms": 0}


async def test_health_with_a_full_disk(server: Server) -> None:
    server.store.writer.is_full = True
    reply = await app(server.store.writer).request("GET", "/health")
    assert (reply.status, reply.json()["ready"], reply.json()["disk"]) == (503, False, "full")


async def test_health_without_a_writer(server: Server) -> None:
    server.store.writer.close()
    reply = await app(server.store.writer).request("GET", "/health")
    assert (reply.status, reply.json()["ready"], reply.json()["writer"]) == (503, False, "ended")


async def test_health_of_a_loop_that_stood_still(server: Server) -> None:
    reply = await app(server.store.writer, LAG_S_MAX + 1).request("GET", "/health")
    assert (reply.status, reply.json()["ready"], reply.json()["loop_lag_ms"]) == (503, False, 3000)
