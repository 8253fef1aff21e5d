"""`holdfast webhooks` as an operator runs it. Its work is called here; one command is run as a program."""

import json
from datetime import UTC, datetime

import pytest
from anthropic import APIStatusError

from holdfast.cli.client.errors import CannotDo
from holdfast.cli.client.target import Target
from holdfast.cli.client.webhooks import Action, carry_out
from tests.support.command import holdfast
from tests.support.created_sessions import create_session
from tests.support.edge import SessionService
from tests.support.session_log import SessionLog
from tests.support.webhooks import Receiver, Webhooks


async def test_an_operator_makes_tries_mends_and_deletes_a_webhook(
    edge: SessionService, webhooks: Webhooks, endpoint: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(action: Action, *names: str, events: str = "", as_json: bool = False) -> tuple[int, str]:
        target = Target(edge.base_url, edge.key)
        code = await carry_out(target, action, names, events=events, description="", overlap_s=60, as_json=as_json)
        return code, capsys.readouterr().out.rstrip("\n")

    _, created = await run("create", endpoint.url, events="session.status_run_started")
    name, secret = created.split("\t")
    code, tested = await run("test", name)
    assert (code, tested.split("\t")[3]) == (0, "delivered")
    assert endpoint.got[0].event(secret).data.id == name

    _, replaced = await run("rotate", name)
    same, new, until = replaced.split("\t")
    assert (same, new != secret, datetime.fromisoformat(until) > datetime.now(UTC)) == (name, True, True)
    assert (await run("test", name))[0] == 0
    assert endpoint.got[-1].event(secret) == endpoint.got[-1].event(new)

    endpoint.answer = lambda _request: 500
    code, tested = await run("test", name)
    assert (code, "answered 500" in tested) == (1, True)
    session = create_session(edge)
    async with edge.bus() as bus:
        await SessionLog(bus, session).running()
    failing = webhooks.until(name, "failing")["failing"][0]
    listed = await holdfast("webhooks", HOLDFAST_BASE_URL=edge.base_url, HOLDFAST_API_KEY=edge.key)
    line = [name, "failing", "session.status_run_started", endpoint.url, "the endpoint answered 500"]
    assert listed.out.rstrip("\n").split("\t") == line
    assert (await run("list"))[1].split("\t") == line

    await run("skip", name, failing["event_id"])
    webhooks.until(name, "enabled")
    delivery = json.loads((await run("deliveries", name, as_json=True))[1])
    assert (delivery["event_id"], delivery["session_id"], delivery["status"]) == (
        failing["event_id"], session, "skipped"
    )  # fmt: skip
    assert "\tdisabled\t" in (await run("disable", name))[1]
    assert "\tenabled\t" in (await run("enable", name))[1]
    assert json.loads((await run("show", name))[1])["url"] == endpoint.url
    assert (await run("delete", name))[1] == f"deleted {name}"
    with pytest.raises(APIStatusError, match="webhook not found"):
        await run("show", name)
    with pytest.raises(CannotDo, match="give the id of a webhook, and that of the event"):
        await run("skip", name)
