"""Everything the edge serves; a new noun is one module and one line here."""

from collections.abc import Callable
from typing import Final

from holdfast.process.health import Health
from holdfast.session.agents import routes as agents
from holdfast.session.context import Context
from holdfast.session.environments import routes as environments
from holdfast.session.events import routes as events
from holdfast.session.events import stream
from holdfast.session.http import openapi, probes
from holdfast.session.http.routing import Route
from holdfast.session.log.repository import SessionRepository
from holdfast.session.sessions import routes as sessions
from holdfast.session.vaults import credentials
from holdfast.session.vaults import routes as vaults

CONFIGURATION: Final[tuple[Callable[[Context], list[Route]], ...]] = (
    agents.routes,
    environments.routes,
    vaults.routes,
    credentials.routes,
)

SESSIONS: Final[tuple[Callable[[SessionRepository], list[Route]], ...]] = (
    sessions.routes,
    events.routes,
    stream.routes,
)


def all_routes(context: Context, ledger: SessionRepository, health: Health) -> list[Route]:
    described = [
        *probes.routes(health),
        *(route for routes in CONFIGURATION for route in routes(context)),
        *(route for routes in SESSIONS for route in routes(ledger)),
    ]
    return [*described, *openapi.routes(described)]
