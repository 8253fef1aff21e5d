"""`/healthz` and `/readyz` on the port of the edge, for load balancers: no key needed, and no detail told."""

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
        return _answer(health.alive)

    async def readyz(_call: Call) -> Response:
        """Whether the process takes requests."""
        return _answer(health.ready)

    return [
        Route(method="GET", path="/healthz", handle=healthz, answer=ProbeAnswer, answer_503=ProbeAnswer, public=True),
        Route(method="GET", path="/readyz", handle=readyz, answer=ProbeAnswer, answer_503=ProbeAnswer, public=True),
    ]


def _answer(ok: bool) -> Response:
    body = msgspec.json.encode(ProbeAnswer(ok))
    return Response(body, 200 if ok else 503, {"cache-control": "no-store"}, media_type="application/json")
