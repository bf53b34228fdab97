"""``GET /health``: whether the server can do its work, for process managers and reverse proxies.

Not of the specification. 200 when it can, 503 when not; the body says which part cannot.
"""

from __future__ import annotations

from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.health import Health

PATH = "/health"


def routes(health: Health) -> Routes:
    """The one operation, without a token: it tells nothing about anybody."""
    routes = Routes("health")

    @routes.get(PATH)
    async def get_health(request: Request) -> tuple[Json, int]:
        report = health.get_report()
        answer: Json = {
            "ready": report.is_ready,
            "writer": "ok" if report.is_writing else "ended",
            "disk": "ok" if report.has_room else "full",
            "loop_lag_ms": round(report.lag_s * 1000, 1),
        }
        return answer, 200 if report.is_ready else 503

    return routes
