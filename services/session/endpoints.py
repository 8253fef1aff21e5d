"""Every route of the edge. A new resource is one module with `routes(...)` and one line here."""

import asyncio
from collections.abc import Callable

from holdfast.process.health import Health
from holdfast.process.model_facts import ModelCatalogue
from holdfast.session.agents import routes as agent_routes
from holdfast.session.agents.store import AgentStore
from holdfast.session.api_keys import routes as api_key_routes
from holdfast.session.api_keys.store import ApiKeyStore
from holdfast.session.audit import routes as audit_routes
from holdfast.session.audit.log import AuditLog
from holdfast.session.environments import routes as environment_routes
from holdfast.session.environments.store import EnvironmentStore
from holdfast.session.events import routes as event_routes
from holdfast.session.events import stream as stream_routes
from holdfast.session.events.open_streams import OpenStreams
from holdfast.session.http import openapi, probes
from holdfast.session.http.routing import Route
from holdfast.session.jobs.file_parts import FileParts
from holdfast.session.log.repository import SessionRepository
from holdfast.session.models import routes as model_routes
from holdfast.session.sessions import routes as session_routes
from holdfast.session.tasks.wiring import TaskParts
from holdfast.session.vaults import credentials as credential_routes
from holdfast.session.vaults import routes as vault_routes
from holdfast.session.vaults.client import VaultClient
from holdfast.session.webhooks import routes as webhook_routes
from holdfast.session.webhooks.routes import WebhookHandlers


def all_routes(
    *,
    sessions: SessionRepository,
    agents: AgentStore,
    environments: EnvironmentStore,
    vaults: VaultClient,
    webhooks: WebhookHandlers,
    api_keys: ApiKeyStore,
    audit: AuditLog,
    models: ModelCatalogue,
    tasks: TaskParts,
    files: FileParts,
    health: Health,
    now: Callable[[], int],
    streams: OpenStreams,
    stopping: asyncio.Event,
) -> list[Route]:
    """`now` is the clock in microseconds since 1970; `stopping` is set when the process drains."""
    described = [
        *probes.routes(health),
        *agent_routes.routes(agents, now),
        *environment_routes.routes(environments, now),
        *vault_routes.routes(vaults),
        *credential_routes.routes(vaults),
        *webhook_routes.routes(webhooks),
        *session_routes.routes(sessions, agents, environments),
        *event_routes.routes(sessions),
        *stream_routes.routes(sessions, streams, stopping),
        *model_routes.routes(models),
        *api_key_routes.routes(api_keys),
        *audit_routes.routes(audit),
        *tasks.routes,
        *files.routes,
    ]
    return [*described, *openapi.routes(described)]
