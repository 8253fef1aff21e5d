"""Tasks that are handed to the service itself: over HTTP with a key or a signature, and as NATS requests."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import httpx
import nats
import pytest
from nats.aio.client import Client

from tests.integration.test_vault_secrecy import holds
from tests.support.conversation import MODEL
from tests.support.eventually import eventually
from tests.support.model import say
from tests.support.stack import Stack, stack

CANARY = "canary-7c1e-through-the-sdk"
"""The secret that `holds` looks for."""

STANDARD_KEY = base64.b64encode(b"a key of thirty-two bytes, or so").decode()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    with stack(tmp_path_factory.mktemp("stack"), harnesses=1) as made:
        yield made


@pytest.fixture
async def http(running: Stack) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {running.run.api_key}"}
    async with httpx.AsyncClient(base_url=running.run.base_url, headers=headers, timeout=40, trust_env=False) as client:
        yield client


@pytest.fixture
async def stranger(running: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key, as GitHub is."""
    async with httpx.AsyncClient(base_url=running.run.base_url, timeout=40, trust_env=False) as client:
        yield client


@pytest.fixture
async def publisher(running: Stack) -> AsyncIterator[Client]:
    login = json.loads(Path(running.run.credentials["publisher"]).read_text())  # noqa: ASYNC240
    client = await nats.connect(running.run.nats_url, inbox_prefix=b"_INBOX_publisher", **login)
    yield client
    await client.close()


async def bind(http: httpx.AsyncClient, kind: str, **fields: Any) -> dict[str, Any]:
    agent = (await http.post("/v1/agents", json={"model": MODEL, "name": "a"})).json()
    environment = (await http.post("/v1/environments", json={"name": f"of {kind}"})).json()
    body = {"kind": kind, "agent": agent["id"], "environment_id": environment["id"], "message": "{{say}}", **fields}
    answer = await http.post("/v1/bindings", json=body)
    assert answer.status_code == 200, answer.text
    assert CANARY not in answer.text
    return answer.json()


async def sessions_of(http: httpx.AsyncClient, kind: str) -> list[dict[str, Any]]:
    listed = (await http.get("/v1/sessions?limit=100")).json()["data"]
    return [one for one in listed if one["metadata"].get("task_kind") == kind]


def github(body: bytes, secret: str, delivery: str, event: str = "pull_request") -> dict[str, str]:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "content-type": "application/json", "x-github-delivery": delivery, "x-github-event": event,
        "x-hub-signature-256": f"sha256={signature}",
    }  # fmt: skip


def stripe(body: bytes, secret: str) -> dict[str, str]:
    at = str(int(time.time()))
    signature = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {"content-type": "application/json", "stripe-signature": f"t={at},v1={signature}"}


def standard(body: bytes, name: str) -> dict[str, str]:
    at = str(int(time.time()))
    signed = f"{name}.{at}.".encode() + body
    signature = base64.b64encode(hmac.new(base64.b64decode(STANDARD_KEY), signed, hashlib.sha256).digest()).decode()
    return {
        "content-type": "application/json", "webhook-id": name, "webhook-timestamp": at,
        "webhook-signature": f"v1,{signature}",
    }  # fmt: skip


async def refused(client: httpx.AsyncClient, url: str, status: int, body: bytes = b"{}", **headers: str) -> str:
    answer = await client.post(url, content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert "Traceback" not in answer.text
    return answer.json()["error"]["message"]


async def test_a_webhook_of_github_starts_one_session(
    running: Stack, http: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    made = await bind(
        http, "review", message="[play:none] {{@event}} {{number}}", when={"action": ["opened"]},
        session_key="{{number}}", signature={"scheme": "github", "secrets": [CANARY]},
    )  # fmt: skip
    assert made["signature"] == {"scheme": "github", "header": None, "tolerance_seconds": 300}
    body = json.dumps({"action": "opened", "number": 5}).encode()
    for _ in range(3):  # as GitHub repeats a delivery
        answer = await stranger.post("/v1/tasks/review", content=body, headers=github(body, CANARY, "d-1"))
        assert answer.status_code == 200, answer.text
        assert answer.json()["kind"] == "review"

    async def started() -> list[dict[str, Any]]:
        return await sessions_of(http, "review")

    (session,) = await eventually(started, what="a session")
    again = await stranger.post("/v1/tasks/review", content=body, headers=github(body, CANARY, "d-1"))
    assert (again.json()["state"], again.json()["session_id"]) == ("done", session["id"])
    events = (await http.get(f"/v1/sessions/{session['id']}/events?types[]=user.message")).json()["data"]
    assert [block["text"] for event in events for block in event["content"]] == ["[play:none] pull_request 5"]

    ping = json.dumps({"zen": "Keep it logically awesome."}).encode()
    ignored = await stranger.post("/v1/tasks/review", content=ping, headers=github(ping, CANARY, "d-2", "ping"))
    assert (ignored.status_code, ignored.json()["state"]) == (200, "ignored")
    for place in ("nats", "logs", "session", "bao"):
        assert [file for file in (running.data / place).rglob("*") if holds(file)] == []
    shown = await http.get("/v1/bindings/review/versions")
    assert CANARY not in shown.text


async def test_what_is_not_signed_by_the_secret_has_one_answer(
    http: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    await bind(http, "signed", signature={"scheme": "github", "secrets": ["a good secret"]})
    await bind(http, "unsigned")
    body = b'{"say": "x"}'
    good = github(body, "a good secret", "d-1")
    bad = github(body, "another secret", "d-1")
    answers = {
        await refused(stranger, "/v1/tasks/signed", 401, body, **bad),
        await refused(stranger, "/v1/tasks/signed", 401, body + b" ", **good),
        await refused(stranger, "/v1/tasks/signed", 401, body),
        await refused(stranger, "/v1/tasks/unsigned", 401, body, **good),
        await refused(stranger, "/v1/tasks/none", 401, body, **good),
        await refused(stranger, "/v1/tasks/a$b", 401, body, **good),
        await refused(stranger, "/v1/tasks/signed?tenant=other", 401, body, **good),
        await refused(stranger, "/v1/tasks/signed?tenant=a.b", 401, body, **good),
    }
    assert answers == {"invalid or missing API key"}
    assert "401" not in await refused(stranger, "/v1/tasks/signed", 413, b"x" * (1 << 20 | 1), **good)
    wrong = await refused(http, "/v1/tasks/signed", 400, b"{", **{"content-type": "application/json"})
    assert wrong
    assert await sessions_of(http, "signed") == []


async def test_stripe_and_standard_webhooks(http: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    await bind(http, "paid", message="{{id}}", signature={"scheme": "stripe", "secrets": ["whsec_of stripe"]})
    await bind(http, "svix", message="{{id}}", signature={"scheme": "standard", "secrets": [f"whsec_{STANDARD_KEY}"]})
    body = b'{"id": "evt_1"}'
    sent = {"paid": stripe(body, "whsec_of stripe"), "svix": standard(body, "msg_1")}
    for kind, headers in sent.items():
        for _ in range(2):
            answer = await stranger.post(f"/v1/tasks/{kind}", content=body, headers=headers | {"holdfast-wait": "0"})
            assert answer.status_code == 200, answer.text
        await refused(stranger, f"/v1/tasks/{kind}", 401, b'{"id": "evt_2"}', **headers)

        async def started(kind: str = kind) -> list[dict[str, Any]]:
            return await sessions_of(http, kind)

        assert len(await eventually(started, what=kind)) == 1


async def test_a_secret_is_replaced_and_removed(http: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    await bind(http, "turned", signature={"scheme": "github", "secrets": ["the old secret"]})
    body, number = b'{"say": "x"}', iter(range(1000))

    async def status(secret: str) -> int:
        headers = github(body, secret, f"t-{next(number)}")
        return (await stranger.post("/v1/tasks/turned", content=body, headers=headers)).status_code

    assert (await status("the old secret"), await status("the new secret")) == (200, 401)
    both = {"scheme": "github", "secrets": ["the new secret", "the old secret"]}
    changed = (await http.post("/v1/bindings/turned", json={"signature": both})).json()
    assert changed["version"] == 2

    async def answers(secret: str, wanted: int) -> None:
        async def look() -> bool:
            return await status(secret) == wanted

        await eventually(look, what=f"{wanted} for {secret}", within=20)

    await answers("the new secret", 200)
    assert await status("the old secret") == 200
    kept = await http.post("/v1/bindings/turned", json={"signature": {"scheme": "github", "tolerance_seconds": 9}})
    assert (kept.json()["version"], kept.json()["signature"]["tolerance_seconds"]) == (3, 9)
    assert "secrets: give the secret" in await refused(
        http, "/v1/bindings/turned", 400, b'{"signature": {"scheme": "stripe"}}'
    )
    await http.post("/v1/bindings/turned", json={"signature": {"scheme": "github", "secrets": ["the new secret"]}})
    await answers("the old secret", 401)
    assert await status("the new secret") == 200
    assert (await http.post("/v1/bindings/turned/archive")).status_code == 200
    await answers("the new secret", 401)


async def test_a_task_with_a_key_waits_for_the_end_of_its_turn(running: Stack, http: httpx.AsyncClient) -> None:
    mark = await running.model.play(say("All done."))
    await bind(http, "keyed")
    headers = {"idempotency-key": "k-1", "holdfast-wait": "30"}
    answer = (await http.post("/v1/tasks/keyed", json={"say": f"[play:{mark}]"}, headers=headers)).json()
    assert (answer["state"], answer["stop_reason"], answer["text"]) == ("done", "end_turn", "All done."), answer
    same = (await http.post("/v1/tasks/keyed", json={"say": f"[play:{mark}]"}, headers=headers)).json()
    assert same == answer
    assert len(await running.model.requests(mark)) == 1
    assert (await http.get(f"/v1/tasks/{answer['task_id']}")).json()["session_id"] == answer["session_id"]

    assert "is missing" in await refused(http, "/v1/tasks/nobody", 404)
    assert "is malformed" not in await refused(http, "/v1/tasks/keyed", 400, b"{")
    assert "holdfast-wait" in await refused(http, "/v1/tasks/keyed", 400, b"{}", **{"holdfast-wait": "601"})
    assert "another tenant" in await refused(http, "/v1/tasks/keyed?tenant=other", 400)
    made = (await http.post("/v1/api_keys", json={"name": "p", "role": "publisher"})).json()
    async with httpx.AsyncClient(base_url=running.run.base_url, headers={"x-api-key": made["key"]}) as sender:
        sent = await sender.post("/v1/tasks/keyed", json={"say": f"[play:{mark}]"}, headers={"idempotency-key": "k-1"})
        assert sent.json()["session_id"] == answer["session_id"]
        assert "publisher" in await refused(sender, "/v1/tasks/keyed", 403, b"{}", **{"holdfast-wait": "1"})
    dead = (await http.post("/v1/tasks/keyed", json={"other": 1}, headers={"holdfast-wait": "30"})).json()
    assert (dead["state"], dead["reason"], "{{say}}" in dead["message"]) == ("dead", "unrenderable", True)


async def test_a_task_waits_for_a_place_until_the_turn_of_another_has_ended(
    running: Stack, http: httpx.AsyncClient
) -> None:
    gates = [{"name": "place", "after": 0}]
    first = await running.model.play(say("First.", gates=gates))
    second = await running.model.play(say("Second."))
    await bind(http, "single", max_open=1)
    await http.post("/v1/tasks/single", json={"say": f"[play:{first}]"})
    await running.model.reached("place")
    waits = (await http.post("/v1/tasks/single", json={"say": f"[play:{second}]"})).json()
    assert (waits["state"], waits["session_id"]) == ("open", None), waits

    async def is_known() -> bool:
        return (await http.get(f"/v1/tasks/{waits['task_id']}")).json().get("state") == "waiting"

    await eventually(is_known, what="the task is in line")
    assert len(await sessions_of(http, "single")) == 1
    assert "Holdfast-Priority" in await refused(http, "/v1/tasks/single", 400, b"{}", **{"holdfast-priority": "high"})
    await running.model.release("place")
    (request,) = await running.model.requests(second, count=1, within=8)
    assert request.status == 200

    async def is_done() -> bool:
        return (await http.get(f"/v1/tasks/{waits['task_id']}")).json()["state"] == "done"

    await eventually(is_done, what="the second task")


async def test_a_webhook_that_the_binding_cannot_render_is_sent_again_as_it_came(
    http: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    await bind(http, "mended", message="{{missing}}", signature={"scheme": "github", "secrets": ["a good secret"]})
    body = b'{"number": 7}'
    sent = await stranger.post("/v1/tasks/mended", content=body, headers=github(body, "a good secret", "m-1", "push"))
    assert sent.json()["state"] == "open", sent.text
    path = f"/v1/tasks/{sent.json()['task_id']}"

    async def is_dead() -> bool:
        return (await http.get(path)).json().get("reason") == "unrenderable"

    await eventually(is_dead, what="a dead task")
    assert (await http.post("/v1/bindings/mended", json={"message": "{{@event}} {{number}}"})).status_code == 200
    assert (await http.post(f"{path}/resend")).status_code == 200

    async def texts() -> list[str]:
        found = await sessions_of(http, "mended")
        listed = await http.get(f"/v1/sessions/{found[0]['id']}/events?types[]=user.message") if found else None
        return [block["text"] for event in listed.json()["data"] for block in event["content"]] if listed else []

    assert await eventually(texts, what="a session") == ["push 7"]


async def test_bodies_of_strangers_take_no_room_from_others(
    running: Stack, http: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    await bind(http, "busy", signature={"scheme": "github", "secrets": ["a good secret"]})
    body = b'{"say": "x"}'
    good = await stranger.post("/v1/tasks/busy", content=body, headers=github(body, "a good secret", "b-1"))
    assert good.status_code == 200
    address = httpx.URL(running.run.base_url)
    most = 1 << 20
    head = f"POST /v1/tasks/busy HTTP/1.1\r\nHost: localhost\r\nContent-Length: {most}\r\n\r\n".encode()
    stalled: list[asyncio.StreamWriter] = []
    try:
        large = b'{"say": "' + b"x" * 900_000 + b'"}'

        async def is_refused() -> bool:
            _, writer = await asyncio.open_connection(address.host, address.port)
            stalled.append(writer)
            writer.write(head + b" " * (most - 1))
            await writer.drain()
            return (await stranger.post("/v1/tasks/busy", content=large)).status_code == 429

        await eventually(is_refused, what="no room for large bodies of strangers", within=30)
        assert len(stalled) >= 16, "a few bodies take all the room"
        small = await stranger.post("/v1/tasks/busy", content=body, headers=github(body, "a good secret", "b-2"))
        assert small.status_code == 200
        assert (await http.post("/v1/tasks/busy", content=large[:-1])).status_code == 400, "with a key there is room"
    finally:
        for writer in stalled:
            writer.close()


async def test_a_request_over_nats_is_answered(running: Stack, http: httpx.AsyncClient, publisher: Client) -> None:
    mark = await running.model.play(say("Asked and done."))
    await bind(http, "asked")

    async def ask(kind: str, body: bytes, **headers: str) -> dict[str, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        got = await publisher.request(f"ask.default.{kind}", body, timeout=40, headers=named or None)
        return json.loads(got.data)

    body = json.dumps({"say": f"[play:{mark}]"}).encode()
    first = await ask("asked", body, Nats_Msg_Id="q-1")
    assert (first["state"], first["text"]) == ("done", None), first
    waited = await ask("asked", body, Nats_Msg_Id="q-1", Holdfast_Wait="30")
    assert waited == {**first, "stop_reason": "end_turn", "text": "Asked and done."}
    await publisher.jetstream().publish("task.default.asked", body, headers={"Nats-Msg-Id": "q-1"})
    assert len(await sessions_of(http, "asked")) == 1, "the same task by another way"
    for kind, sent, text in (("asked", b"{", "the task"), ("nobody", b"{}", "is missing"), ("a$b", b"{}", "subject: ")):
        answer = await ask(kind, sent)
        assert answer["type"] == "error"
        assert text in answer["error"]["message"]
