"""Limits of requests a second, and of turns that run at once, through the official SDK."""

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import anthropic
import pytest
from anthropic import Anthropic

from holdfast.bus.ids import new_id
from tests.support.api_keys import make_key, revoke, with_key
from tests.support.edge import SessionService, envelope, replica, session_service
from tests.support.eventually import eventually
from tests.support.session_log import SessionLog

SAY: Final[Any] = {"type": "user.message", "content": [{"type": "text", "text": "hi"}]}
TURNS: Final = 2


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Generator[SessionService]:
    limits = {"HOLDFAST_TENANT_RUNNING_TURNS": str(TURNS)}
    with session_service(tmp_path_factory.mktemp("edge"), limits) as running:
        yield running


def test_the_sdk_waits_as_long_as_it_is_told(edge: SessionService, tmp_path: Path) -> None:
    made, other = make_key(edge, "read_only"), make_key(edge, "read_only")
    key = made["key"]
    with replica(edge, tmp_path, {"HOLDFAST_KEY_REQUESTS_PER_S": "0.5"}) as slow:
        client = slow.client(api_key=key)
        assert client.beta.agents.list().data == []
        began = time.monotonic()
        second = client.beta.agents.with_raw_response.list()
        assert second.http_request.headers["x-stainless-retry-count"] == "1"
        assert 1.0 < time.monotonic() - began < 10
        with with_key(slow, key) as http:
            refused = http.get("/v1/agents")
        assert "this API key sends more requests" in envelope(refused, 429, "rate_limit_error")
        assert refused.headers["retry-after"] == "2"
        assert refused.json()["error"]["details"] == {"error_code": "too_many_requests"}
        with pytest.raises(anthropic.RateLimitError):
            slow.client(api_key=key, max_retries=0).beta.agents.list()
        with with_key(slow, other["key"]) as http:
            assert http.get("/v1/agents").status_code == 200, "another key of the tenant has its own share"
        revoke(edge, made["id"])
        with with_key(slow, key) as http:
            assert http.get("/v1/agents").status_code == 401


def new_session(client: Anthropic, **more: Any) -> str:
    agent = client.beta.agents.create(model="m", name="n")
    environment = client.beta.environments.create(name=new_id("e"))
    return client.beta.sessions.create(agent=agent.id, environment_id=environment.id, **more).id


async def test_a_tenant_runs_so_many_turns_at_once(edge: SessionService, tmp_path: Path) -> None:
    """No harness runs here: what was accepted waits, and counts; a turn that ran is written to the log by the test."""
    keys = {tenant: make_key(edge, "tenant", tenant=tenant)["key"] for tenant in ("busy", "calm")}
    client = edge.client(api_key=keys["busy"], max_retries=0)
    waiting = new_session(client, initial_events=[SAY])
    runs, idle, late = (new_session(client) for _ in range(3))
    async with edge.bus() as bus:
        log = SessionLog(bus, runs, tenant="busy")
        await log.running(claim=False)

        async def refused(service: SessionService) -> bool:
            with with_key(service, keys["busy"]) as http:
                answer = http.post(f"/v1/sessions/{idle}/events", json={"events": [SAY]})
            if answer.status_code != 429:
                return False
            assert f"{TURNS} sessions of this tenant run" in envelope(answer, 429, "rate_limit_error")
            assert (answer.headers["retry-after"], answer.json()["error"]["details"]) == (
                "5", {"error_code": "too_many_turns"},
            )  # fmt: skip
            return True

        await eventually(lambda: refused(edge), what="the read model knows of the turn that runs")
        with pytest.raises(anthropic.RateLimitError):
            new_session(client, initial_events=[SAY])
        before = len(client.beta.sessions.list().data)
        assert before == 4, "a session that is refused is not made"
        assert client.beta.sessions.events.list(idle).data == [], "nor is a message stored"
        for allowed in (waiting, runs):  # they have their turn already
            client.beta.sessions.events.send(allowed, events=[SAY])
        client.beta.sessions.events.send(idle, events=[{"type": "user.interrupt"}])
        new_session(client)  # without a turn
        new_session(edge.client(api_key=keys["calm"], max_retries=0), initial_events=[SAY])
        await log.idle()
        with replica(edge, tmp_path, {"HOLDFAST_TENANT_RUNNING_TURNS": "1"}) as second:
            other = second.client(api_key=keys["busy"], max_retries=0)
            other.beta.sessions.events.send(late, events=[SAY])
            with pytest.raises(anthropic.RateLimitError):
                other.beta.sessions.events.send(idle, events=[SAY])
