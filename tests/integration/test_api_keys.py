"""API keys with roles: what each role may do on every route, and what becomes of a key that is revoked."""

import asyncio
import json
import re
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final, cast

import anthropic
import msgspec
import nats
import pytest
from anthropic import AsyncAnthropic

from holdfast.bus.errors import Conflict, Newer
from holdfast.bus.ids import new_id
from holdfast.bus.records import decode_record
from holdfast.bus.streams import AUDIT
from holdfast.process.api_keys import new_api_key
from holdfast.session.http.key_record import BUCKET, digest
from tests.support.api_keys import listed, make_key, revoke, with_key
from tests.support.edge import SessionService, envelope, replica, session_service
from tests.support.session_requests import SAY

READ: Final = """
    GET /v1/agents                              GET /v1/agents/{agent_id}
    GET /v1/agents/{agent_id}/versions          GET /v1/environments
    GET /v1/environments/{environment_id}       GET /v1/vaults
    GET /v1/vaults/{vault_id}                   GET /v1/vaults/{vault_id}/credentials
    GET /v1/vaults/{vault_id}/credentials/{credential_id}
    GET /v1/sessions                            GET /v1/sessions/{session_id}
    GET /v1/sessions/{session_id}/events        GET /v1/sessions/{session_id}/events/stream
    GET /v1/models                              GET /v1/models/{model_id}
    GET /v1/bindings                            GET /v1/bindings/{kind}
    GET /v1/bindings/{kind}/versions            GET /v1/tasks
    GET /v1/tasks/{task}                        GET /v1/webhooks
    GET /v1/webhooks/{webhook_id}               GET /v1/webhooks/{webhook_id}/deliveries
    GET /v1/files                               GET /v1/files/{file_id}
    GET /v1/files/{file_id}/content
"""
WRITE: Final = """
    POST /v1/agents                             POST /v1/agents/{agent_id}
    POST /v1/agents/{agent_id}/archive          POST /v1/environments
    POST /v1/environments/{environment_id}      DELETE /v1/environments/{environment_id}
    POST /v1/environments/{environment_id}/archive
    POST /v1/vaults                             POST /v1/vaults/{vault_id}
    DELETE /v1/vaults/{vault_id}                POST /v1/vaults/{vault_id}/archive
    POST /v1/vaults/{vault_id}/credentials      POST /v1/vaults/{vault_id}/credentials/{credential_id}
    DELETE /v1/vaults/{vault_id}/credentials/{credential_id}
    POST /v1/vaults/{vault_id}/credentials/{credential_id}/archive
    POST /v1/vaults/{vault_id}/credentials/{credential_id}/mcp_oauth_validate
    POST /v1/sessions                           POST /v1/sessions/{session_id}
    DELETE /v1/sessions/{session_id}            POST /v1/sessions/{session_id}/archive
    POST /v1/bindings                           POST /v1/bindings/{kind}
    POST /v1/bindings/{kind}/archive            POST /v1/tasks/{task}/resend
    POST /v1/webhooks                           POST /v1/webhooks/{webhook_id}
    DELETE /v1/webhooks/{webhook_id}            POST /v1/webhooks/{webhook_id}/test
    POST /v1/webhooks/{webhook_id}/rotate_secret
    POST /v1/files                              DELETE /v1/files/{file_id}
"""
PUBLISH: Final = """
    POST /v1/sessions/{session_id}/events       POST /v1/tasks/{task}
"""
ADMINISTER: Final = """
    POST /v1/api_keys                           GET /v1/api_keys
    GET /v1/api_keys/{api_key_id}               POST /v1/api_keys/{api_key_id}/revoke
    GET /v1/audit_records
"""

ROUTE: Final = re.compile(r"(GET|POST|DELETE) (\S+)")


def routes(text: str) -> set[tuple[str, str]]:
    return set(ROUTE.findall(text))


MAY: Final = {
    "admin": routes(READ + WRITE + PUBLISH + ADMINISTER),
    "tenant": routes(READ + WRITE + PUBLISH),
    "read_only": routes(READ),
    "publisher": routes(PUBLISH),
}
"""What each role may do. Written by hand: a new route fails the test below until somebody says who may use it."""


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Generator[SessionService]:
    with session_service(tmp_path_factory.mktemp("edge")) as running:
        yield running


# --- roles ---------------------------------------------------------------------------------------------------------


def test_every_role_is_tried_on_every_route(edge: SessionService) -> None:
    with edge.http() as http:
        described: dict[str, Any] = http.get("/openapi.json").json()["paths"]
    all_routes = {
        (method.upper(), path): operation
        for path, methods in described.items()
        for method, operation in methods.items()
        if operation.get("security") != []
    }
    assert set(all_routes) == MAY["admin"], "say in this file who may use a new route"
    for role, allowed in MAY.items():
        with with_key(edge, make_key(edge, role)["key"]) as http:
            for (method, path), operation in all_routes.items():
                body: dict[str, str] | None = {} if method == "POST" else None
                answer = http.request(method, re.sub(r"{\w+}", "x_1", path), json=body)
                if (method, path) in allowed:
                    assert answer.status_code not in (401, 403), f"{role}: {method} {path}: {answer.text}"
                else:
                    assert role in envelope(answer, 403, "permission_error"), f"{method} {path}"
                assert (role in operation["x-roles"]) == ((method, path) in allowed), "the document says it too"


def test_head_needs_what_get_needs(edge: SessionService) -> None:
    with with_key(edge, make_key(edge, "publisher")["key"]) as http:
        assert http.head("/v1/sessions").status_code == 403


def test_a_refused_request_stores_nothing_and_its_body_is_not_looked_at(edge: SessionService) -> None:
    with with_key(edge, make_key(edge, "read_only")["key"]) as http:
        before = edge.last_sequences()
        envelope(http.post("/v1/agents", json={"model": "m", "name": "n"}), 403, "permission_error")
        envelope(http.post("/v1/agents", content=b"\xff" * 100_000), 403, "permission_error")
        assert edge.last_sequences() == before


def test_the_sdk_tells_a_permission_from_a_wrong_key_and_does_not_repeat(edge: SessionService) -> None:
    reader = edge.client(api_key=make_key(edge, "read_only")["key"])
    assert list(reader.beta.agents.list()) == list(edge.client().beta.agents.list())
    with pytest.raises(anthropic.PermissionDeniedError) as refused:
        reader.beta.agents.create(model="m", name="n")
    assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"


async def test_a_publisher_brings_work_in_and_decides_nothing(edge: SessionService) -> None:
    client = edge.client()
    agent = client.beta.agents.create(model="m", name="n")
    environment = client.beta.environments.create(name=new_id("e"))
    session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id).id
    made, message = make_key(edge, "publisher"), cast("Any", SAY)
    async with edge.async_client(api_key=made["key"], max_retries=0) as publisher:
        await publisher.beta.sessions.events.send(session, events=[message])
        decisions: list[Any] = [
            {"type": "user.interrupt"},
            {"type": "user.tool_confirmation", "tool_use_id": "sevt_1", "result": "allow"},
            {"type": "user.custom_tool_result", "custom_tool_use_id": "sevt_1", "content": []},
        ]
        for event in decisions:
            with pytest.raises(anthropic.PermissionDeniedError, match=str(event["type"])):
                await publisher.beta.sessions.events.send(session, events=[message, event])
        with pytest.raises(anthropic.PermissionDeniedError):
            await publisher.beta.sessions.retrieve(session)
    assert len(client.beta.sessions.events.list(session).data) == 1, "of a mixed request nothing was stored"


async def test_a_key_acts_in_its_tenant_alone(edge: SessionService) -> None:
    agent = edge.client().beta.agents.create(model="m", name="of the first tenant").id
    for role in ("admin", "tenant", "read_only"):
        other = edge.client(api_key=make_key(edge, role, tenant="acme")["key"])
        with pytest.raises(anthropic.NotFoundError):
            other.beta.agents.retrieve(agent)
    with edge.http() as http:
        for tenant in ("a.b", "*", ">", "", "a b", "a" * 65, "acme\n"):
            body = {"name": "n", "role": "tenant", "tenant": tenant}
            envelope(http.post("/v1/api_keys", json=body), 400, "invalid_request_error")


# --- the life of a key ---------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_only_its_hash_is_stored(edge: SessionService) -> None:
    made = make_key(edge, "tenant", tenant="acme")
    assert made["key"].startswith("hf_")
    (again,) = (one for one in listed(edge) if one["id"] == made["id"])
    assert again == {name: value for name, value in made.items() if name != "key"}
    with edge.http() as http:
        assert http.get(f"/v1/api_keys/{made['id']}").json() == again
        answer = http.post("/v1/api_keys", json={"name": "n", "role": "tenant"})
        assert answer.headers["cache-control"] == "no-store"
        envelope(http.get("/v1/api_keys/apikey_1"), 404, "not_found_error")
        assert [one["tenant"] for one in http.get("/v1/api_keys?tenant=nobody").json()["data"]] == []
    assert (again["role"], again["tenant"], again["revoked_at"]) == ("tenant", "acme", None)
    stored = [file.read_bytes() for file in edge.nats.store.rglob("*") if file.is_file()]
    assert any(digest(made["key"]).encode() in data for data in stored)
    assert all(made["key"].encode() not in data for data in stored)
    assert made["key"] not in edge.log.read_text()


def test_a_list_of_keys_has_pages(edge: SessionService) -> None:
    made = [make_key(edge, "read_only", tenant="pages")["id"] for _ in range(3)]
    with edge.http() as http:
        first = http.get("/v1/api_keys?tenant=pages&limit=2").json()
        second = http.get(f"/v1/api_keys?tenant=pages&limit=2&page={first['next_page']}").json()
    assert [one["id"] for one in (*first["data"], *second["data"])] == made[::-1]
    assert second["next_page"] is None


async def test_a_revoked_key_is_refused_by_every_replica_and_its_streams_end(
    edge: SessionService, tmp_path: Path
) -> None:
    client = edge.client()
    agent = client.beta.agents.create(model="m", name="n")
    environment = client.beta.environments.create(name=new_id("e"))
    session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id).id
    made, kept = make_key(edge, "read_only"), make_key(edge, "read_only")
    with replica(edge, tmp_path) as second:

        async def reads_until_the_end(service: SessionService, key: str) -> float:
            async with (
                AsyncAnthropic(base_url=service.base_url, api_key=key, max_retries=0) as reader,
                await reader.beta.sessions.events.stream(session) as stream,
            ):
                opened.release()
                async for _ in stream:
                    pass
            return time.monotonic()

        opened = asyncio.Semaphore(0)
        streams = [asyncio.create_task(reads_until_the_end(service, made["key"])) for service in (edge, second)]
        other = asyncio.create_task(reads_until_the_end(second, kept["key"]))
        for _ in range(3):
            await asyncio.wait_for(opened.acquire(), 10)
        begin = time.monotonic()
        revoked = await asyncio.to_thread(revoke, edge, made["id"])
        assert revoked["revoked_at"]
        ends = await asyncio.wait_for(asyncio.gather(*streams), 5)
        assert max(ends) - begin < 2
        assert not other.done(), "the stream of another key goes on"
        other.cancel()
        for service in (edge, second):
            with with_key(service, made["key"]) as http:
                envelope(http.get("/v1/sessions"), 401, "authentication_error")
    assert revoke(edge, made["id"]) == revoked, "a second revocation changes nothing"
    assert made["id"] not in [one["id"] for one in listed(edge)]
    assert revoked in listed(edge, include_revoked="true")


# --- versions side by side -----------------------------------------------------------------------------------------


class RecordBeforeRoles(msgspec.Struct, frozen=True, kw_only=True):
    """A key's record as versions before roles have it: every key has all rights in its tenant."""

    v: int = 1
    tenant: str
    id: str
    name: str
    created: int


async def test_a_version_before_roles_gives_no_key_more_than_its_role(edge: SessionService) -> None:
    revoked = make_key(edge, "tenant")
    revoke(edge, revoked["id"])
    async with edge.bus() as bus:

        async def read_before_roles(key: str) -> RecordBeforeRoles:
            entry = await bus.kv.get(BUCKET, digest(key))
            assert entry
            return decode_record(RecordBeforeRoles, entry.value or b"")

        for role in ("admin", "tenant"):
            made = make_key(edge, role)
            assert (await read_before_roles(made["key"])).id == made["id"]
        for key in (make_key(edge, "read_only")["key"], make_key(edge, "publisher")["key"], revoked["key"]):
            with pytest.raises(Newer):
                await read_before_roles(key)


async def test_a_key_of_a_version_before_roles_goes_on_working(edge: SessionService, tmp_path: Path) -> None:
    old = new_api_key()
    async with edge.bus() as bus:
        entry = await bus.kv.get(BUCKET, digest(edge.key))
        assert entry
        for key, revision in ((old, 0), (edge.key, entry.revision)):
            record = RecordBeforeRoles(tenant="default", id=new_id("apikey"), name="before roles", created=1)
            await bus.kv.update(BUCKET, digest(key), msgspec.json.encode(record), revision)
    with with_key(edge, old) as http:
        assert http.get("/v1/agents").status_code == 200
        assert http.post("/v1/agents", json={"model": "m", "name": "n"}).status_code == 200
        envelope(http.get("/v1/api_keys"), 403, "permission_error")
    with replica(edge, tmp_path):  # it has HOLDFAST_API_KEY_FILE too
        roles = [one["role"] for one in listed(edge) if one["name"] == "before roles"]
    assert sorted(roles) == ["admin", "tenant"], "the key in HOLDFAST_API_KEY_FILE is the operator's"


# --- the audit -----------------------------------------------------------------------------------------------------


def test_the_audit_says_who_did_what_and_holds_no_secret(edge: SessionService) -> None:
    admin = make_key(edge, "admin")
    with with_key(edge, admin["key"]) as http:
        answer = http.post("/v1/api_keys", json={"name": "for the audit", "role": "publisher", "tenant": "acme"})
        made = answer.json()
        http.post(f"/v1/api_keys/{made['id']}/revoke").raise_for_status()
        http.post(f"/v1/api_keys/{made['id']}/revoke").raise_for_status()  # it is revoked already: no act
        envelope(http.post("/v1/api_keys/apikey_1/revoke"), 404, "not_found_error")
    revoked, created, *_ = listed(edge, "/v1/audit_records")
    assert (revoked["action"], created["action"]) == ("api_key.revoke", "api_key.create")
    for record in (revoked, created):
        assert (record["object_id"], record["api_key_id"]) == (made["id"], admin["id"])
        assert record["details"] == {"name": "for the audit", "role": "publisher", "tenant": "acme"}
    assert created["request_id"] == answer.headers["request-id"]
    assert made["key"] not in json.dumps(listed(edge, "/v1/audit_records"))
    assert digest(made["key"]) not in json.dumps(listed(edge, "/v1/audit_records"))


async def test_the_audit_cannot_be_changed(edge: SessionService) -> None:
    """Not by the session service either, which may publish there: the server refuses it."""
    make_key(edge, "tenant")
    newest, *_ = listed(edge, "/v1/audit_records")
    async with edge.bus() as bus:
        with pytest.raises(Conflict):
            await bus.kv.create(AUDIT, newest["id"], b"{}")
    client = await nats.connect(edge.nats.url)
    try:
        subject = f"$KV.{AUDIT}.{newest['id']}"
        for headers in (None, {"KV-Operation": "DEL"}, {"Nats-Rollup": "sub"}, {"Nats-TTL": "1s"}):
            answer = await client.request(subject, b"{}", headers=headers)
            assert "error" in json.loads(answer.data), headers
        for request, body in (("PURGE", b"{}"), ("MSG.DELETE", b'{"seq": 1}')):
            answer = await client.request(f"$JS.API.STREAM.{request}.KV_{AUDIT}", body)
            assert "error" in json.loads(answer.data), request
        ttl = await client.request(f"$KV.{AUDIT}.new", b"{}", headers={"Nats-TTL": "1s"})
        assert "error" in json.loads(ttl.data), "nothing in it expires"
    finally:
        await client.close()
    assert newest in listed(edge, "/v1/audit_records")
