"""`/healthz` and `/readyz` on the edge's own port, for load balancers; without a key, and without any detail."""

from starlette.responses import Response

from holdfast.process.health import Health
from holdfast.session.http.routing import Call, Route


def routes(health: Health) -> list[Route]:
    async def healthz(_call: Call) -> Response:
        """Whether the process is alive."""
        return _say(health.alive)

    async def readyz(_call: Call) -> Response:
        """Whether the process takes requests."""
        return _say(health.ready)

    return [
        Route(method="GET", path="/healthz", handle=healthz),
        Route(method="GET", path="/readyz", handle=readyz),
    ]


def _say(ok: bool) -> Response:
    body = b'{"ok":true}' if ok else b'{"ok":false}'
    return Response(body, 200 if ok else 503, {"cache-control": "no-store"}, media_type="application/json")
