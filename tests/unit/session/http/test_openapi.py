"""The OpenAPI document of all routes of the edge: complete, and made from the types that the routes name."""

import asyncio
from typing import Any

import msgspec
import pytest

from holdfast.bus.jetstream.file_chunks import NatsFileChunks
from holdfast.bus.jetstream.public_events import NatsPublicEvents
from holdfast.bus.jetstream.public_reads import NatsPublicReads
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.jetstream.tasks import NatsTasks
from holdfast.process.health import Health
from holdfast.process.model_catalogue import load_catalogue
from holdfast.session.agents.store import AgentStore
from holdfast.session.api_keys.store import ApiKeyStore
from holdfast.session.audit.log import AuditLog
from holdfast.session.endpoints import all_routes
from holdfast.session.environments.store import EnvironmentStore
from holdfast.session.events.disk_space import DiskSpaceCheck
from holdfast.session.events.open_streams import OpenStreams
from holdfast.session.http.openapi import document
from holdfast.session.http.routing import Call, Route
from holdfast.session.jobs.file_parts import FileParts
from holdfast.session.log.readmodel import ReadModel
from holdfast.session.log.repository import SessionRepository
from holdfast.session.settings import SessionSettings
from holdfast.session.tasks.wiring import TaskParts
from holdfast.session.vaults.client import VaultClient
from holdfast.session.webhooks.attempt import Attempts
from holdfast.session.webhooks.routes import WebhookHandlers
from holdfast.session.webhooks.secrets import WebhookSecrets
from holdfast.session.webhooks.store import WebhookStore
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer


@pytest.fixture(scope="module")
def routes() -> list[Route]:
    bus = MemoryBus(MemoryServer(), "test")
    sessions = SessionRepository(bus, ReadModel(None, ["a0"]), cells=["a0"], now=lambda: 1)
    agents, environments, stopping = AgentStore(bus.kv), EnvironmentStore(bus.kv), asyncio.Event()
    vaults, client = VaultClient(bus.core), JetStreamClient()
    secrets = WebhookSecrets(vaults)
    webhooks = WebhookHandlers(
        WebhookStore(bus.kv, ()),
        secrets,
        Attempts(secrets, (), 1.0, lambda: 1),
        public=NatsPublicEvents(client),
        reads=NatsPublicReads(client),
        cells=["a0"],
        now=lambda: 1,
    )
    tasks = TaskParts.of(
        NatsTasks(client), sessions, agents, environments, vaults=vaults, disk=DiskSpaceCheck(""), stopping=stopping
    )
    audit = AuditLog(bus.kv, lambda: 1)
    return all_routes(
        sessions=sessions,
        agents=agents,
        environments=environments,
        vaults=vaults,
        webhooks=webhooks,
        api_keys=ApiKeyStore(bus.kv, audit, lambda: 1),
        audit=audit,
        models=load_catalogue(),
        health=Health("session"),
        now=lambda: 1,
        tasks=tasks,
        files=FileParts.of(bus.kv, NatsFileChunks(client), SessionSettings(nats_url=""), DiskSpaceCheck(""), lambda: 1),
        streams=OpenStreams(1),
        stopping=stopping,
    )


def operations(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in found["paths"].values() for operation in path.values()]


def test_each_operation_has_an_id_of_its_own_and_a_summary(routes: list[Route]) -> None:
    found = operations(document(routes))
    names = [operation["operationId"] for operation in found]
    assert len(names) == len(set(names)) == len(routes)
    assert {"agents.create", "environments.create", "vaults.create", "credentials.create"} <= set(names)
    assert all(operation["summary"] for operation in found)


def test_each_reference_leads_to_a_component(routes: list[Route]) -> None:
    found = document(routes)
    known = {f"#/components/schemas/{name}" for name in found["components"]["schemas"]}

    def references(part: Any) -> set[str]:
        match part:
            case dict():
                own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set[str]()
                return own.union(*(references(inner) for inner in part.values()))
            case list():
                return set[str]().union(*(references(inner) for inner in part))
            case _:
                return set()

    assert references(found) <= known


def test_only_probes_and_the_document_need_no_key(routes: list[Route]) -> None:
    public = {route.path for route in routes if route.public}
    assert public == {"/healthz", "/readyz", "/openapi.json"}
    assert {route.path for route in routes if route.signed} == {"/v1/tasks/{task}"}
    for path, methods in document(routes)["paths"].items():
        for operation in methods.values():
            assert (operation.get("security") == []) == (path in public)


def test_a_route_is_described_by_its_types() -> None:
    class Asked(msgspec.Struct, forbid_unknown_fields=True):
        count: int

    class Told(msgspec.Struct):
        text: str

    async def handle(_call: Call) -> Told:
        """Say something.

        And more.
        """
        return Told("")

    found = document([Route(method="POST", path="/v1/x/{x_id}", handle=handle, body=Asked, answer=Told)])
    (operation,) = operations(found)
    assert operation["summary"] == "Say something."
    assert [parameter["name"] for parameter in operation["parameters"]] == ["x_id"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/Asked"}
    assert answer == {"$ref": "#/components/schemas/Told"}
    assert found["components"]["schemas"]["Told"]["required"] == ["text"]
    error = operation["responses"]["default"]["content"]["application/json"]["schema"]
    assert error == {"$ref": "#/components/schemas/ErrorResponse"}
