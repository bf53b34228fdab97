"""Traces of requests over OTLP, while ``allow_jaeger`` is on. Imported only then: it needs the extra ``tracing``.

Where they go, and which share of them, say OpenTelemetry's own variables, such as ``OTEL_EXPORTER_OTLP_ENDPOINT`` and
``OTEL_TRACES_SAMPLER``. The exporter has a thread and a bounded queue: while the collector is slow or gone, traces are
lost and nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Final

import trio
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace import Tracer as OtelTracer

from conduit_py.log import get_logger
from conduit_py.observe.seldom import Seldom

_log = get_logger(__name__)

QUEUED_SPANS_MAX: Final = 4096
"""About 1 KiB each. Further ones are dropped until the collector has taken some."""
EVERY_MS: Final = 5000
WARNING_EVERY_S: Final = 300.0
CLOSE_S_MAX: Final = 2.0
"""For the last traces when the server stops."""


class OtlpTracer:
    """A `conduit_py.observe.requests.Tracer`. One per server; ``run`` is owned by the nursery tree."""

    def __init__(self, server_name: str, version: str, exporter: SpanExporter | None = None) -> None:
        # What the library complains about, the exporter below says in a sentence, and not every five seconds.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        resource = Resource.create(
            {"service.name": "conduit_py", "service.version": version, "service.instance.id": server_name}
        )
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                _Exporter(exporter or OTLPSpanExporter()),
                max_queue_size=QUEUED_SPANS_MAX,
                schedule_delay_millis=EVERY_MS,
            )
        )
        self._tracer = self._provider.get_tracer("conduit_py", version)

    def begin(self, method: str, request_id: str) -> OtlpTrace:
        """See ``Tracer``."""
        attributes = {"http.request.method": method, "conduit_py.request_id": request_id}
        span = self._tracer.start_span(method, context=Context(), kind=SpanKind.SERVER, attributes=attributes)
        return OtlpTrace(self._tracer, span)

    async def run(self) -> None:
        """Wait for the end of the server, then hand over what is left, as long as the collector is quick."""
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S_MAX):
                await trio.to_thread.run_sync(self._provider.shutdown, abandon_on_cancel=True)


class OtlpTrace:
    """A `conduit_py.observe.requests.Trace`: a span for the request, and one in it for each thing it waited for."""

    def __init__(self, tracer: OtelTracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._context = set_span_in_context(span, Context())

    def add(self, name: str, attributes: Mapping[str, str], started_ns: int, ended_ns: int) -> None:
        """See ``Trace``."""
        span = self._tracer.start_span(name, context=self._context, attributes=dict(attributes), start_time=started_ns)
        if "error" in attributes:
            span.set_status(StatusCode.ERROR, attributes["error"])
        span.end(ended_ns)

    def end(self, route: str, status: int | None) -> None:
        """See ``Trace``."""
        self._span.update_name(route)
        self._span.set_attribute("http.route", route)
        if status is not None:
            self._span.set_attribute("http.response.status_code", status)
        if status is None or status >= 500:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class _Exporter(SpanExporter):
    """Says in the log when traces are lost. Runs in the exporter's thread."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._seldom = Seldom(WARNING_EVERY_S, time.monotonic)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        if result is not SpanExportResult.SUCCESS and (left_out := self._seldom.ask()) is not None:
            _log.warning("traces could not be exported and are lost", spans=len(spans), left_out=left_out)
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()
