"""Traces reach a collector, and a collector that is not there harms nobody."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import trio

from conduit_py.http import Request, Routes
from conduit_py.http.app import App
from conduit_py.http.in_process import AppClient
from conduit_py.observe.requests import SERVERS, RequestWatch, timed
from tests.observe.test_loop import fields

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from conduit_py.observe.otlp import OtlpTracer


class Collector:
    """A socket that takes what an exporter brings."""

    def __init__(self, status: int) -> None:
        self.spans: list[Any] = []
        self.service = ""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def take(self, request: Any) -> None:
        for resource in request.resource_spans:
            named = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
            self.service = named["service.name"]
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector(request: pytest.FixtureRequest) -> Iterator[Collector]:
    collector = Collector(getattr(request, "param", 200))
    yield collector
    collector.close()


def attributes(span: Any) -> dict[str, Any]:
    return {it.key: it.value.string_value or it.value.int_value for it in span.attributes}


@asynccontextmanager
async def traced(url: str) -> AsyncIterator[AppClient]:
    """An application whose traces are brought there when the block ends."""
    routes = Routes("test")

    @routes.get("/things/<name>")
    async def get_thing(request: Request, name: str) -> dict[str, str]:
        with timed(SERVERS, destination="two.test"):
            await trio.lowlevel.checkpoint()
        return {"name": name}

    tracer = OtlpTracer("one.test", "1.0", OTLPSpanExporter(endpoint=url, timeout=1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tracer.run)
        yield AppClient(App([routes], request_bytes_max=0, watch=RequestWatch(tracer=tracer)))
        nursery.cancel_scope.cancel()


async def test_request_and_what_it_waited_for_reach_the_collector(collector: Collector) -> None:
    async with traced(collector.url) as client:
        reply = await client.request("GET", "/things/secret?access_token=sesame")
    assert collector.service == "conduit_py"
    waited, request = sorted(collector.spans, key=lambda span: bool(not span.parent_span_id))
    assert request.name == "/things/<name>"
    assert attributes(request) == {
        "http.request.method": "GET",
        "http.route": "/things/<name>",
        "http.response.status_code": 200,
        "conduit_py.request_id": reply.headers["x-request-id"],
    }
    assert (waited.name, attributes(waited)) == (SERVERS, {"destination": "two.test"})
    assert (waited.trace_id, waited.parent_span_id) == (request.trace_id, request.span_id)
    assert request.start_time_unix_nano <= waited.start_time_unix_nano <= waited.end_time_unix_nano
    assert "sesame" not in str(collector.spans)


async def test_requests_have_a_trace_each(collector: Collector) -> None:
    async with traced(collector.url) as client:
        await client.request("GET", "/things/one")
        await client.request("GET", "/nothing")
    assert len({span.trace_id for span in collector.spans}) == 2


@pytest.mark.parametrize("collector", [400], indirect=True)
async def test_collector_that_refuses_costs_one_warning(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    async with traced(collector.url) as client:
        assert (await client.request("GET", "/things/one")).status == 200
    (record,) = [record for record in caplog.records if record.name == "conduit_py.observe.otlp"]
    assert (record.levelno, fields(record)["spans"]) == (logging.WARNING, 2)


async def test_collector_that_is_gone_keeps_nothing_waiting(collector: Collector) -> None:
    url = collector.url
    collector.close()
    with trio.fail_after(10):
        async with traced(url) as client:
            assert (await client.request("GET", "/things/one")).status == 200


def test_server_without_tracing_does_not_import_it() -> None:
    code = "import sys, conduit_py.server; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
