"""The keys of the HTTP API: G.2 point 1 of the conformance list, and the tenants that keys belong to."""

import json
import time
from collections.abc import Generator

import anthropic
import httpx
import pytest

from holdfast.process.api_keys import new_api_key
from holdfast.session.http import api_keys
from holdfast.session.http.key_record import BUCKET, digest
from tests.support.edge import SessionService, envelope, session_service
from tests.support.eventually import eventually


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Generator[SessionService]:
    with session_service(tmp_path_factory.mktemp("edge")) as running:
        yield running


def test_the_key_works_as_bearer_token_and_as_x_api_key(edge: SessionService) -> None:
    agent = edge.client().beta.agents.create(model="m", name="made with the key as bearer token")
    with httpx.Client(base_url=edge.base_url, headers={"x-api-key": edge.key}) as older:
        listed = older.get("/v1/agents").raise_for_status().json()
    assert agent.id in [found["id"] for found in listed["data"]]


def test_a_missing_and_a_wrong_key_get_the_same_answer(edge: SessionService) -> None:
    with pytest.raises(anthropic.AuthenticationError) as wrong:
        edge.client(api_key="sk-wrong").beta.agents.list()
    assert wrong.value.request_id
    missing = httpx.get(f"{edge.base_url}/v1/agents")
    assert envelope(missing, 401, "authentication_error") == wrong.value.body["error"]["message"]  # type: ignore[index]


def test_an_odd_authorization_header_is_a_wrong_key(edge: SessionService) -> None:
    for value in ("Bearer", "Basic abc", "bearer " + "x" * 3000, "Bearer \xff"):
        answer = httpx.get(f"{edge.base_url}/v1/agents", headers=[(b"authorization", value.encode("latin-1"))])
        envelope(answer, 401, "authentication_error")


def test_an_unknown_endpoint_is_404_and_a_wrong_method_405_even_without_a_key(edge: SessionService) -> None:
    unknown = httpx.post(f"{edge.base_url}/")
    assert envelope(unknown, 404, "not_found_error") == "no such endpoint"
    assert unknown.headers["server"] == "holdfast"
    answer = httpx.patch(f"{edge.base_url}/v1/agents")
    envelope(answer, 405, "invalid_request_error")
    assert answer.headers["allow"] == "GET, POST"


async def test_a_removed_key_stops_working_within_a_second(edge: SessionService) -> None:
    key = new_api_key()
    headers = {"x-api-key": key}
    async with edge.bus() as bus, httpx.AsyncClient(base_url=edge.base_url, headers=headers) as http:
        assert (await http.get("/v1/agents")).status_code == 401
        await api_keys.install(bus.kv, key, tenant="other", name="test", now=0)
        assert (await http.get("/v1/agents")).status_code == 200
        await bus.kv.delete(BUCKET, digest(key))
        begin = time.monotonic()

        async def refused() -> bool:
            return (await http.get("/v1/agents")).status_code == 401

        await eventually(refused, within=1.0, what="the removed key")
        assert time.monotonic() - begin < 1.0


async def test_only_the_hash_of_a_key_is_stored(edge: SessionService) -> None:
    async with edge.bus() as bus:
        entry = await bus.kv.get(BUCKET, digest(edge.key))
    assert entry
    assert entry.value
    assert json.loads(entry.value).keys() == {
        *("v", "tenant", "id", "name", "created"),
        *("role", "created_by", "revoked_at"),
    }
    stored = [file for file in edge.nats.store.rglob("*") if file.is_file()]
    assert stored
    assert all(edge.key.encode() not in file.read_bytes() for file in stored)
    assert edge.key not in edge.log.read_text()


async def test_one_tenant_does_not_see_another(edge: SessionService) -> None:
    key = new_api_key()
    async with edge.bus() as bus:
        await api_keys.install(bus.kv, key, tenant="neighbour", name="test", now=0)
    mine, theirs = edge.client(), edge.client(api_key=key)
    agent = mine.beta.agents.create(model="m", name="mine")
    environment = mine.beta.environments.create(name="mine")
    theirs.beta.environments.create(name="mine")  # names are per tenant
    with pytest.raises(anthropic.NotFoundError):
        theirs.beta.agents.retrieve(agent.id)
    with pytest.raises(anthropic.NotFoundError):
        theirs.beta.environments.delete(environment.id)
    assert agent.id not in [one.id for one in theirs.beta.agents.list()]


async def test_guessing_keys_costs_the_bus_little_and_keeps_no_new_key_out(edge: SessionService) -> None:
    def stored_and_asked() -> int:
        """Messages that nats-server has received."""
        return int(httpx.get(f"http://{edge.monitor}/varz").json()["in_msgs"])

    async with httpx.AsyncClient(base_url=edge.base_url) as http:
        before = stored_and_asked()
        for _ in range(400):
            assert (await http.get("/v1/agents", headers={"x-api-key": new_api_key()})).status_code == 401
        assert stored_and_asked() - before < 200
        key = new_api_key()
        async with edge.bus() as bus:
            await api_keys.install(bus.kv, key, tenant="late", name="test", now=0)

            async def works() -> bool:
                return (await http.get("/v1/agents", headers={"x-api-key": key})).status_code == 200

            await eventually(works)
