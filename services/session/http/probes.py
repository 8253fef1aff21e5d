"""`/healthz` and `/readyz` on the edge's own port, for load balancers; without a key, and without any detail."""

import msgspec
from starlette.responses import Response

from holdfast.process.health import Health
from holdfast.session.http.routing import Call, Route


class ProbeAnswer(msgspec.Struct, frozen=True):
    """The answer of a probe, with status 200 if `ok` and 503 otherwise."""

    ok: bool


def routes(health: Health) -> list[Route]:
    async def healthz(_call: Call) -> Response:
        """Whether the process is alive."""
        return _say(health.alive)

    async def readyz(_call: Call) -> Response:
        """Whether the process takes requests."""
        return _say(health.ready)

    return [
        Route(method="GET", path="/healthz", handle=healthz, answer=ProbeAnswer, answer_503=ProbeAnswer, public=True),
        Route(method="GET", path="/readyz", handle=readyz, answer=ProbeAnswer, answer_503=ProbeAnswer, public=True),
    ]


def _say(ok: bool) -> Response:
    body = msgspec.json.encode(ProbeAnswer(ok))
    return Response(body, 200 if ok else 503, {"cache-control": "no-store"}, media_type="application/json")
