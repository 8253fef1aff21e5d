"""Webhooks from public events to a real receiver: signed for the official SDK, in order, repeated, disabled, listed."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast.session.webhooks.secrets import new_secret
from tests.support.created_sessions import create_session
from tests.support.edge import SessionService, envelope, session_service
from tests.support.eventually import eventually
from tests.support.session_log import SessionLog
from tests.support.webhooks import Received, Receiver, Webhooks, receiver

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

pytestmark = pytest.mark.timeout(90)

RUN = ["session.status_run_started", "session.status_idled"]


async def a_turn(edge: SessionService, session: str, *waiting_for: str) -> None:
    async with edge.bus() as bus:
        log = SessionLog(bus, session)
        await log.running()
        await log.says("canary-said")
        await log.idle(*waiting_for)


async def until(condition: Callable[[], bool], what: str) -> None:
    async def look() -> bool:
        return condition()

    await eventually(look, what=what, within=15)


async def test_a_turn_reaches_the_endpoint_and_the_sdk_verifies_it(
    edge: SessionService, webhooks: Webhooks, endpoint: Receiver
) -> None:
    made = webhooks.create(endpoint.url, description="d", metadata={"team": "t"})
    session = create_session(edge)
    await a_turn(edge, session)
    await until(lambda: endpoint.of(session) == RUN, "two events")
    started, idled = (request.event(made["secret"]) for request in endpoint.got)
    assert (started.type, started.data.type, started.data.id) == ("event", RUN[0], session)
    assert (type(idled.data).__name__, idled.data.id) == ("BetaWebhookSessionStatusIdledEventData", session)
    assert (idled.data.organization_id, idled.data.workspace_id) == ("default", "default")
    with edge.client() as client:
        shown = {e.type: e for e in client.beta.sessions.events.list(session)}
        status_idle: Any = shown["session.status_idle"]
        assert idled.created_at == status_idle.processed_at
        assert idled.id == "whe_" + status_idle.id.removeprefix("sevt_")
    with edge.http() as http:  # the SDK sends a parent of its own once a test has made a tracer
        assert http.delete(f"/v1/sessions/{session}", headers={"traceparent": PARENT}).is_success
    await until(lambda: endpoint.of(session) == [*RUN, "session.deleted"], "its end")
    traced = endpoint.got[-1].headers["traceparent"]
    assert traced[:36] == PARENT[:36], "the receiver can go on in the trace of the request"
    assert traced != PARENT
    assert "traceparent" not in endpoint.got[0].headers, "written outside of any trace"
    assert all("canary-said" not in request.body for request in endpoint.got)
    with pytest.raises(Exception, match="No matching signature"):
        endpoint.got[0].event(new_secret())
    with pytest.raises(Exception, match="No matching signature"):
        endpoint.got[0]._replace(body=endpoint.got[0].body + " ").event(made["secret"])


async def test_only_the_events_that_it_asks_for(edge: SessionService, webhooks: Webhooks, endpoint: Receiver) -> None:
    webhooks.create(endpoint.url, events=["session.requires_action"])
    session = create_session(edge)
    await a_turn(edge, session)
    await a_turn(edge, session, "sevt_call")
    with edge.client() as client:
        client.beta.sessions.update(session, title="t")
    with receiver() as other:
        both = webhooks.create(other.url, events=["session.requires_action", "session.status_idled"])
        await a_turn(edge, session, "sevt_call")
        await until(lambda: len(other.got) == 2, "both events of one idle")
        assert [request.event(both["secret"]).data.type for request in other.got] == [
            "session.status_idled",
            "session.requires_action",
        ]
        assert len(other.ids()) == 2
    await until(lambda: len(endpoint.got) == 2, "two events")
    assert endpoint.of(session) == ["session.requires_action"] * 2


async def test_what_is_not_taken_is_sent_again_in_order_with_one_id(
    edge: SessionService, webhooks: Webhooks, endpoint: Receiver
) -> None:
    answers = [500, 302, 404, 503]
    endpoint.answer = lambda _request: answers.pop(0) if answers else 204
    endpoint.headers = {"location": endpoint.url + "/elsewhere", "retry-after": "0"}
    made = webhooks.create(endpoint.url)
    session = create_session(edge)
    await a_turn(edge, session)
    await until(lambda: len(endpoint.got) >= 6, "four failures and two events")
    assert endpoint.of(session) == [RUN[0]] * 5 + [RUN[1]]
    assert {request.path for request in endpoint.got} == {"/hooks"}
    assert len(endpoint.ids()) == 2
    for request in endpoint.got:
        request.event(made["secret"])
    await until(lambda: len(webhooks.deliveries(made["id"])) == 2, "two deliveries")
    last, first = webhooks.deliveries(made["id"])
    assert (first["event_id"], first["status"], first["attempts"]) == (endpoint.got[0].id, "delivered", 5)
    assert (first["session_id"], first["event_type"], first["http_status"]) == (session, RUN[0], 204)
    assert (last["event_type"], last["attempts"], last["error"]) == (RUN[1], 1, None)


async def test_a_slow_endpoint_slows_no_other(edge: SessionService, webhooks: Webhooks, endpoint: Receiver) -> None:
    def hang(_request: Received) -> int:
        time.sleep(30)
        return 200

    with receiver() as slow:
        slow.answer = hang
        stuck = webhooks.create(slow.url)
        webhooks.create(endpoint.url)
        session = create_session(edge)
        began = time.monotonic()
        await a_turn(edge, session)
        await until(lambda: endpoint.of(session) == RUN, "the events at the other one")
        assert time.monotonic() - began < 2
        found = webhooks.until(stuck["id"], "failing")
        assert found["failing"][0]["error"] == "the endpoint did not answer in time"


async def test_an_endpoint_that_says_gone_is_disabled_and_goes_on_when_it_is_enabled(
    edge: SessionService, webhooks: Webhooks, endpoint: Receiver
) -> None:
    endpoint.answer = lambda _request: 410
    made = webhooks.create(endpoint.url)
    session = create_session(edge)
    await a_turn(edge, session)
    found = webhooks.until(made["id"], "disabled")
    assert found["disabled"]["error"] == "the endpoint answered 410"
    edge.until_logged("webhook disabled")
    endpoint.answer = lambda _request: 200
    await a_turn(edge, session)
    assert len(endpoint.got) == 1
    assert webhooks.test(made["id"])["status"] == "delivered"
    assert webhooks.update(made["id"], enabled=True)["disabled"] is None
    await until(lambda: endpoint.of(session)[1:] == RUN * 2, "what has waited")
    assert webhooks.until(made["id"], "enabled")["failing"] == []


async def test_an_event_that_is_never_taken_can_be_left_out(
    edge: SessionService, webhooks: Webhooks, endpoint: Receiver
) -> None:
    poison: list[str] = []

    def answer(request: Received) -> int:
        poison[:] = poison or [request.id]
        return 400 if request.id in poison else 200

    endpoint.answer = answer
    made = webhooks.create(endpoint.url)
    session = create_session(edge)
    await a_turn(edge, session)
    failing = webhooks.until(made["id"], "failing")["failing"][0]
    assert (failing["event_id"], failing["error"]) == (poison[0], "the endpoint answered 400")
    webhooks.update(made["id"], skip_event_id=failing["event_id"])
    await until(lambda: endpoint.of(session)[-1] == RUN[1], "the next event")
    await until(lambda: [one["status"] for one in webhooks.deliveries(made["id"])] == ["delivered", "skipped"], "both")


async def test_a_test_event_says_what_became_of_it(webhooks: Webhooks, endpoint: Receiver) -> None:
    made = webhooks.create(endpoint.url)
    assert webhooks.test(made["id"])["status"] == "delivered"
    event = endpoint.got[0].event(made["secret"])
    assert (event.data.type, event.data.id) == ("webhook.test", made["id"])
    endpoint.answer = lambda _request: 401
    refused = webhooks.test(made["id"])
    assert (refused["status"], refused["http_status"], refused["error"]) == (
        "failing", 401, "the endpoint answered 401"
    )  # fmt: skip
    endpoint.close()
    assert webhooks.test(made["id"])["error"] == "the host does not take connections"


def test_while_a_secret_is_replaced_the_sdk_verifies_with_the_old_one_and_with_the_new_one(
    webhooks: Webhooks, endpoint: Receiver
) -> None:
    made = webhooks.create(endpoint.url)
    first = made["secret"]
    rotated = webhooks.rotate(made["id"])
    second = rotated.pop("secret")
    until = datetime.fromisoformat(rotated.pop("earlier_valid_until"))
    assert rotated == {"id": made["id"], "type": "webhook_secret"}
    assert timedelta(hours=23) < until - datetime.now(UTC) <= timedelta(hours=24)
    assert webhooks.test(made["id"])["status"] == "delivered"
    for secret in (first, second):
        assert endpoint.got[-1].event(secret).data.id == made["id"]
    with pytest.raises(Exception, match="No matching signature"):
        endpoint.got[-1].event(new_secret())

    third = webhooks.rotate(made["id"], overlap_seconds=60)["secret"]
    webhooks.test(made["id"])
    assert [endpoint.got[-1].event(secret).data.id for secret in (first, second, third)] == [made["id"]] * 3

    leaked = webhooks.rotate(made["id"], overlap_seconds=0)
    assert leaked["earlier_valid_until"] is None
    webhooks.test(made["id"])
    assert endpoint.got[-1].event(leaked["secret"]).data.id == made["id"]
    for secret in (first, second, third):
        with pytest.raises(Exception, match="No matching signature"):
            endpoint.got[-1].event(secret)


def test_the_secret_is_shown_once_and_stands_in_no_file(
    edge: SessionService, webhooks: Webhooks, endpoint: Receiver
) -> None:
    made = webhooks.create(endpoint.url)
    secrets = [made["secret"], webhooks.rotate(made["id"])["secret"], webhooks.rotate(made["id"])["secret"]]
    assert len(set(secrets)) == 3
    webhooks.test(made["id"])
    shown = webhooks.http.get("/v1/webhooks").text + webhooks.http.get(f"/v1/webhooks/{made['id']}").text
    assert made["id"] in shown
    assert "secret" not in shown
    folder = edge.log.parent
    for file in folder.rglob("*"):
        if file.is_file():
            raw = file.read_bytes()
            for secret in secrets:
                assert secret.startswith("whsec_")
                assert secret.removeprefix("whsec_").encode() not in raw, file


def test_without_public_events_no_webhook_is_made(tmp_path: Path) -> None:
    with session_service(tmp_path) as edge, edge.http() as http:
        answer = http.post("/v1/webhooks", json={"url": "https://example.com/h", "events": ["session.deleted"]})
        assert "HOLDFAST_PUBLIC_EVENTS_BYTES" in envelope(answer, 400, "invalid_request_error")
