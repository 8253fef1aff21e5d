"""`holdfast bindings` and `holdfast tasks` as an operator runs them."""

import json
from pathlib import Path

import httpx
import pytest
from anthropic import Anthropic
from nats.aio.client import Client

from tests.support.command import Done, holdfast
from tests.support.edge import SessionService
from tests.support.tasks import died, started

pytestmark = pytest.mark.timeout(180)  # a dozen commands one after the other


async def test_an_operator_mends_a_missing_binding(  # noqa: PLR0917  fixtures
    edge: SessionService, publisher: Client, sync: Anthropic, http: httpx.Client, agent: str, environment: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    async def run(*arguments: str) -> Done:
        return await holdfast(*arguments, HOLDFAST_BASE_URL=edge.base_url, HOLDFAST_API_KEY=edge.key)

    await publisher.jetstream().publish("task.default.cli", b'{"what": "it"}')
    (task,) = await died(http, "cli")
    listed = await run("tasks")
    assert listed.code == 0, listed
    assert listed.out.split("\t")[:2] == [task["id"], "cli"]
    assert "\tunbound\t" in listed.out
    assert json.loads((await run("tasks", "--json")).out)["id"] == task["id"]

    file = tmp_path / "cli.yaml"
    file.write_text(f"kind: cli\nagent: {agent}\nenvironment_id: {environment}\nmessage: Do {{{{what}}}}\n")
    created = await run("bindings", "create", str(file))
    assert created.code == 0, created
    assert created.out.startswith("cli\tversion 1\t")
    assert (await run("bindings")).out == created.out
    again = await run("bindings", "create", str(file))
    assert (again.code, "update it" in again.err) == (1, True)

    sent = await run("tasks", "resend", task["id"], "--json")
    assert sent.code == 0, sent
    assert (json.loads(sent.out)["id"], json.loads(sent.out)["reason"]) == (task["id"], "unbound")
    (session,) = await started(sync, "cli")
    await died(http, "cli", 0)
    shown = await run("tasks", "show", task["id"])
    assert shown.out.rstrip("\n").split("\t")[:4] == [task["id"], "cli", "done", session.id]

    file.write_text("title: New\n")
    assert "version 2" in (await run("bindings", "update", "cli", str(file))).out
    assert json.loads((await run("bindings", "show", "cli")).out)["title"] == "New"
    assert "archived" in (await run("bindings", "archive", "cli")).out
    assert (await run("bindings")).out == ""
    assert "archived" in (await run("bindings", "--all")).out


async def test_what_is_wrong_is_said_with_the_way_out(edge: SessionService, tmp_path: Path) -> None:
    async def run(*arguments: str) -> Done:
        return await holdfast(*arguments, HOLDFAST_BASE_URL=edge.base_url, HOLDFAST_API_KEY=edge.key)

    bad = tmp_path / "bad.yaml"
    bad.write_text("[1, 2")
    for arguments, code, text in (
        (("bindings", "create"), 1, "give a file"),
        (("bindings", "update", "k"), 1, "give a kind and a file"),
        (("bindings", "create", str(bad)), 1, "is no valid YAML"),
        (("bindings", "create", str(tmp_path / "none.yaml")), 1, "cannot read"),
        (("bindings", "show", "none"), 1, "404: binding not found"),
        (("tasks", "resend"), 1, "name what to resend"),
        (("tasks", "show", "task_none"), 1, "404: task not found"),
        (("tasks", "drop"), 2, "drop"),
    ):
        done = await run(*arguments)
        assert (done.code, text in done.err) == (code, True), done
