"""Tasks that any NATS client publishes: they start and continue sessions, once each, or become dead letters."""

# ruff: noqa: ASYNC212  the service is another process, so a request that blocks holds nothing up

import asyncio
import json
from typing import Any

import httpx
from anthropic import Anthropic
from nats.aio.client import Client

from holdfast.bus.commits import commit
from holdfast.bus.events import SessionDeleted
from holdfast.bus.ids import Key, new_id
from holdfast.bus.jetstream.client import NatsBus
from tests.support.edge import SessionService
from tests.support.eventually import eventually
from tests.support.tasks import died, messages_of, sessions_of, started

EVENT: dict[str, Any] = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "order.paid"}


async def publish(publisher: Client, kind: str, body: Any, **headers: str) -> None:
    """Publish it to the stream, and wait until it is stored."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    await publisher.jetstream().publish(f"task.default.{kind}", data, headers=named or None)


async def test_plain_json_starts_a_session(publisher: Client, sync: Anthropic, bind: Any, agent: str) -> None:
    bind("plain", title="On {{what}}", metadata={"team": "blue"})
    await publish(publisher, "plain", {"what": "the dishes"})
    (session,) = await started(sync, "plain")
    assert session.title == "On the dishes"
    assert session.agent.id == agent
    assert {"team": "blue", "task_kind": "plain"}.items() <= session.metadata.items()
    assert messages_of(sync, session.id) == ["Do the dishes."]
    assert sync.beta.sessions.retrieve(session.id).status == "running"


async def test_a_core_publish_that_waits_for_no_answer_counts_too(
    publisher: Client, sync: Anthropic, bind: Any
) -> None:
    bind("core")
    await publisher.publish("task.default.core", b'{"what": "this"}')
    await started(sync, "core")


async def test_cloud_events_in_both_modes_are_one_task(publisher: Client, sync: Anthropic, bind: Any) -> None:
    bind("cloud", message="{{@type}}: {{what}}")
    binary = {f"ce-{name}": value for name, value in EVENT.items()}
    await publish(publisher, "cloud", {"what": "paid"}, **binary, Content_Type="application/json")
    structured = {**EVENT, "data": {"what": "paid"}}
    await publish(publisher, "cloud", structured, Content_Type="application/cloudevents+json")
    await publish(publisher, "cloud", structured)
    await publish(publisher, "cloud", {**structured, "id": "e-2"})
    found = await started(sync, "cloud", 2)
    assert [messages_of(sync, session.id) for session in found] == [["order.paid: paid"]] * 2


async def test_a_task_is_known_beyond_the_window_and_a_restart(
    edge: SessionService, publisher: Client, sync: Anthropic, http: httpx.Client, bind: Any
) -> None:
    bind("again")
    await publish(publisher, "again", {"what": "1"}, Nats_Msg_Id="17")
    (session,) = await started(sync, "again")
    task = session.metadata["task_id"]

    async def is_done() -> bool:
        return http.get(f"/v1/tasks/{task}").json()["state"] == "done"

    await eventually(is_done, what="done")
    await asyncio.sleep(0.3)  # longer than the duplicate window of the stream
    await publish(publisher, "again", {"what": "1"}, Nats_Msg_Id="17")
    await publish(publisher, "again", {"what": "2"}, Nats_Msg_Id="18")
    assert len(await started(sync, "again", 2)) == 2
    shown = http.get(f"/v1/tasks/{task}").json()
    assert (shown["state"], shown["session_id"], shown["kind"]) == ("done", session.id, "again")
    assert messages_of(sync, session.id) == ["Do 1."]


async def test_the_same_id_under_another_kind_is_another_task(publisher: Client, sync: Anthropic, bind: Any) -> None:
    bind("left")
    bind("right")
    for kind in ("left", "right"):
        await asyncio.sleep(0.15)
        await publish(publisher, kind, {"what": kind}, Nats_Msg_Id="same")
    await started(sync, "left")
    await started(sync, "right")


async def test_a_session_key_joins_tasks_until_the_session_ends(
    publisher: Client, sync: Anthropic, http: httpx.Client, bind: Any
) -> None:
    bind("keyed", session_key="{{pull}}")
    await asyncio.gather(*(publish(publisher, "keyed", {"what": str(n), "pull": 5}) for n in range(8)))

    async def all_came() -> list[str]:
        found = sessions_of(sync, "keyed")
        got = messages_of(sync, found[0].id) if found else []
        return got if len(got) == 8 else []

    got = await eventually(all_came, what="eight messages in one session")
    assert sorted(got) == [f"Do {n}." for n in range(8)]
    (session,) = sessions_of(sync, "keyed")
    await publish(publisher, "keyed", {"what": "other", "pull": 6})
    await started(sync, "keyed", 2)
    assert http.delete(f"/v1/sessions/{session.id}").status_code == 400, "it runs"


async def test_a_task_of_a_deleted_session_gets_a_new_one(
    edge: SessionService, publisher: Client, sync: Anthropic, bind: Any
) -> None:
    bind("ended", session_key="{{pull}}")
    await publish(publisher, "ended", {"what": "1", "pull": 5})
    (first,) = await started(sync, "ended")
    async with edge.bus() as bus:
        await end(bus, first.id)
    await publish(publisher, "ended", {"what": "2", "pull": 5})

    async def second() -> str:
        others = [s.id for s in sessions_of(sync, "ended") if s.id != first.id]
        return others[0] if others and messages_of(sync, others[0]) else ""

    assert messages_of(sync, await eventually(second, what="a second session")) == ["Do 2."]
    await publish(publisher, "ended", {"what": "3", "pull": 5})
    assert [s.id for s in sessions_of(sync, "ended") if s.id != first.id] == [await second()]


async def end(bus: NatsBus, session_id: str) -> None:
    """Delete the session in the log, as the edge does: here is no harness that would let it rest."""
    key = Key("default", session_id)
    last = await bus.log.head(key, leader=True)
    assert last
    gone = commit(last, [SessionDeleted(id=new_id("sevt"))], by="test", new_id=new_id, now=last.commit.at)
    await bus.log.append(key, gone, last.seq)


async def test_a_binding_takes_only_what_it_wants(
    publisher: Client, sync: Anthropic, http: httpx.Client, bind: Any
) -> None:
    bind("picky", when={"action": ["opened"]})
    await publish(publisher, "picky", {"what": "no", "action": "closed"}, Nats_Msg_Id="p-1")
    await publish(publisher, "picky", {"what": "yes", "action": "opened"}, Nats_Msg_Id="p-2")
    (session,) = await started(sync, "picky")
    assert messages_of(sync, session.id) == ["Do yes."]
    assert await died(http, "picky", 0) == []


async def test_a_task_without_a_binding_is_kept_and_can_be_sent_again(
    edge: SessionService, publisher: Client, sync: Anthropic, http: httpx.Client, bind: Any
) -> None:
    await publish(publisher, "late", {"what": "it"}, Nats_Msg_Id="l-1")
    (task,) = await died(http, "late")
    assert (task["state"], task["reason"], task["session_id"]) == ("dead", "unbound", None)
    assert "POST /v1/bindings" in task["message"]
    again = http.post(f"/v1/tasks/{task['id']}/resend")
    assert again.status_code == 200, again.text

    async def died_again() -> bool:
        found = await died(http, "late")
        return found[0]["died_at"] != task["died_at"]

    await eventually(died_again, what="another death")
    bind("late")
    assert http.post(f"/v1/tasks/{task['id']}/resend").status_code == 200
    (session,) = await started(sync, "late")
    assert session.metadata["task_id"] == task["id"]
    await died(http, "late", 0)
    assert http.get(f"/v1/tasks/{task['id']}").json()["state"] == "done"
    refused = http.post(f"/v1/tasks/{task['id']}/resend")
    assert (refused.status_code, "only a dead one" in refused.text) == (409, True)
    async with edge.bus() as bus:
        letters, _ = await bus.tasks.dead("default", 0, limit=100)
    assert [one for one in letters if one.kind == "late"] == [], "the bytes of a finished task are kept"


async def test_a_dead_task_that_is_published_again_is_tried_again(
    publisher: Client, sync: Anthropic, http: httpx.Client, bind: Any
) -> None:
    await publish(publisher, "later", {"what": "it"}, Nats_Msg_Id="l-2")
    (task,) = await died(http, "later")
    bind("later")
    await asyncio.sleep(0.3)  # longer than the duplicate window of the stream
    await publish(publisher, "later", {"what": "it"}, Nats_Msg_Id="l-2")
    (session,) = await started(sync, "later")
    assert session.metadata["task_id"] == task["id"]
    await died(http, "later", 0)


async def test_what_cannot_be_read_or_rendered_is_dead_with_its_reason(
    publisher: Client, http: httpx.Client, bind: Any
) -> None:
    bind("strict")
    await publish(publisher, "strict", b'{"what": ')
    await publish(publisher, "strict", {"other": "secret-value"})
    await publish(publisher, "strict", {**EVENT, "specversion": "0.3", "data": {}})
    found = {task["reason"]: task for task in await died(http, "strict", 3)}
    assert set(found) == {"malformed", "unrenderable"}
    assert "{{what}}" in found["unrenderable"]["message"]
    assert "secret-value" not in str(found)


async def test_an_agent_that_cannot_be_used_is_the_reason(
    publisher: Client, sync: Anthropic, http: httpx.Client, bind: Any
) -> None:
    other = sync.beta.agents.create(model="m-1", name="b").id
    bind("gone", agent=other)
    sync.beta.agents.archive(other)
    await publish(publisher, "gone", {"what": "it"})
    (task,) = await died(http, "gone")
    assert (task["reason"], task["message"]) == (
        "refused",
        "agent: the agent is archived, no session can be started with it",
    )
    mended = sync.beta.agents.create(model="m-1", name="c").id
    assert http.post("/v1/bindings/gone", json={"agent": mended}).status_code == 200
    assert http.post(f"/v1/tasks/{task['id']}/resend").status_code == 200
    (session,) = await started(sync, "gone")
    assert session.agent.id == mended


async def test_a_subject_that_names_no_kind_of_ours_is_dead_under_another_name(
    edge: SessionService, publisher: Client
) -> None:
    await publisher.jetstream().publish("task.default.a$b", b"{}")

    async def letters() -> list[str]:
        async with edge.bus() as bus:
            found, _ = await bus.tasks.dead("default", 0, limit=100)
        return [one.reason for one in found if one.kind == "_invalid"]

    assert await eventually(letters, what="a dead letter") == ["malformed"]


async def test_headers_of_a_publisher_name_no_other_task(
    publisher: Client, sync: Anthropic, http: httpx.Client, bind: Any
) -> None:
    bind("forged")
    await publish(publisher, "forged", {"what": "first"}, Nats_Msg_Id="f-1")
    (session,) = await started(sync, "forged")
    await publish(publisher, "forged", {"what": "second"}, Holdfast_Task=session.metadata["task_id"])
    both = await started(sync, "forged", 2)
    assert len({one.metadata["task_id"] for one in both}) == 2


async def test_a_large_task_is_stored_and_a_larger_one_refused(publisher: Client, sync: Anthropic, bind: Any) -> None:
    bind("large")
    await publish(publisher, "large", {"what": "x" * 200_000})
    (session,) = await started(sync, "large")
    assert len(messages_of(sync, session.id)[0]) == 200_004
    answer = await publisher.request("task.default.large", b"x" * 2_000_000, timeout=5)
    assert json.loads(answer.data)["error"]["err_code"] == 10054


async def test_tasks_go_on_when_the_service_is_restarted(edge: SessionService, publisher: Client, bind: Any) -> None:
    bind("restart")
    edge.kill()
    for n in range(20):
        await publish(publisher, "restart", {"what": str(n)}, Nats_Msg_Id=f"r-{n}")
    edge.start()
    with edge.client() as sync:
        found = await started(sync, "restart", 20)
        assert sorted(messages_of(sync, one.id)[0] for one in found) == sorted(f"Do {n}." for n in range(20))
