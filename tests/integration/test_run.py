"""`holdfast run`, `attach` and `answer` as scripts use them: in pipes."""

import asyncio
import json
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from holdfast.cli.embedded import runfile
from tests.support.command import ASKING, ENVIRON, HOLDFAST, holdfast, started
from tests.support.eventually import eventually
from tests.support.model import bash, call, say
from tests.support.stack import Stack
from tests.support.terminal import on_screen

pytestmark = pytest.mark.timeout(180)  # a test starts the program several times, each of which imports the SDK

INTERRUPTED = 130


@pytest.fixture
def asking(tmp_path: Path) -> str:
    path = tmp_path / "asker.yaml"
    path.write_text(ASKING)
    return str(path)


async def test_a_task_is_shown_from_the_first_word_to_the_way_on(shared: Stack, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    name = await shared.model.play(
        bash("cat a.txt; echo two >> a.txt; echo x > b.txt", text="I look at the **file**."), say("It is done now.")
    )
    done = await holdfast("run", f"[play:{name}]", "go", "on", "--dir", str(tmp_path), "--data", str(shared.data))
    assert done.code == 0, done
    lines = done.out.splitlines()
    order = [
        f"session {done.session} · claude",
        "I look at the **file**.",
        "● Bash(cat a.txt; echo two >> a.txt; echo x > b.txt)",
        "  ⎿ one",
        "It is done now.",
        "✓ done · ",
        "  changed  a.txt",
        "  new      b.txt",
        f'go on: holdfast run "…" --session {done.session[-8:]} --data {shared.data}',
    ]
    places = [next(i for i, line in enumerate(lines) if line.startswith(text)) for text in order]
    assert places == sorted(places), done
    assert done.out.count("It is done now.") == 1
    assert "go on" not in "\n".join(lines[: places[-1]])  # the task is not repeated
    assert "tokens: " in lines[places[5]]
    assert "\x1b" not in done.out
    asked = await shared.model.requests(name, count=1)
    assert f"[play:{name}] go on" in json.dumps(asked[0].body)


async def test_answers_come_from_standard_input_too(shared: Stack, asking: str) -> None:
    name = await shared.model.play(
        bash("echo first"), bash("echo second"), call("weather", city="Rome"), say("Thank you for everything.")
    )
    data = ("--agent", asking, "--data", str(shared.data))
    done = await holdfast("run", f"[play:{name}] go", *data, answers="y\nnot on a Saturday\nsunny\n")
    assert done.code == 0, done
    assert "⎿ first" in done.out
    assert "⎿ second" not in done.out
    assert "⎿ denied: not on a Saturday" in done.out
    assert "● weather(city=Rome)" in done.out
    asked = await shared.model.requests(name, count=4)
    assert "not on a Saturday" in json.dumps(asked[2].body)
    assert "sunny" in json.dumps(asked[3].body)


async def test_a_waiting_session_is_answered_by_another_command(shared: Stack, asking: str) -> None:
    data = ("--data", str(shared.data))
    name = await shared.model.play(bash("echo first"), call("weather", city="Rome"), say("All is well."))
    waits = await holdfast("run", f"[play:{name}] go", "--agent", asking, *data)  # nobody there
    assert waits.code == 3, waits
    short = waits.session[-8:]
    assert "waits for your permission for Bash(echo first)" in waits.out
    assert f"  holdfast answer {short} allow --data {shared.data}" in waits.out
    assert "requires_action" not in waits.out

    on = await holdfast("run", "go on", "--session", short, *data)
    assert on.code == 3, on  # asks first, and sends nothing
    assert f"holdfast answer {short} deny --message WHY" in on.out
    listed = await holdfast("answer", short, *data)
    assert listed.code == 0
    assert f"holdfast answer {short} allow" in listed.out

    for wrong in (("--result", "x"), ("allow", "--call", "nothing")):
        refused = await holdfast("answer", short, *wrong, *data)
        assert refused.code == 1
        assert "allow" in refused.err
    allowed = await holdfast("answer", short, "allow", *data)
    assert allowed.code == 0, allowed
    assert f"holdfast attach {short}" in allowed.out

    attached = await holdfast("attach", short, *data)
    assert attached.code == 3, attached
    assert "waits for the result of weather(city=Rome)" in attached.out
    assert (await holdfast("answer", short, "allow", *data)).code == 1
    assert (await holdfast("answer", short, "--result", "sunny", *data)).code == 0

    async def rests() -> bool:
        return "All is well." in (await holdfast("attach", short, *data)).out

    await eventually(rests, what="the answer", within=30)
    nothing = await holdfast("answer", short, "allow", *data)
    assert nothing.code == 1
    assert "waits for nothing" in nothing.out


async def test_run_answers_the_open_question_before_its_task(shared: Stack, asking: str) -> None:
    data = ("--data", str(shared.data))
    name = await shared.model.play(bash("echo first"), say("unreached"))
    after = await shared.model.play(say("The task came after the answer."))
    waits = await holdfast("run", f"[play:{name}] go", "--agent", asking, *data)
    done = await holdfast("run", f"[play:{after}] more", "--session", waits.session, *data, answers="y\n")
    assert done.code == 0, done
    assert done.out.index("● Bash(echo first)") < done.out.index("The task came after the answer.")
    asked = json.dumps((await shared.model.requests(after, count=1))[-1].body)
    assert asked.index("first") < asked.index(f"[play:{after}]")


async def test_a_failed_run_has_an_exit_code_and_says_how_to_go_on(shared: Stack) -> None:
    name = await shared.model.play(say("x", faults=[{"kind": "status", "status": 400, "times": 0}]))
    done = await holdfast("run", f"[play:{name}] go", "--data", str(shared.data))
    assert done.code == 1, done
    assert re.search(r"✗ The model at http://\S+ answered 400", done.out)
    assert "✗ failed · " in done.out
    assert f"--session {done.session[-8:]}" in done.out
    for wire in ("retries_exhausted", "(exhausted)", "terminal"):
        assert wire not in done.out


async def test_each_retry_is_one_line_in_a_pipe(shared: Stack) -> None:
    name = await shared.model.play(say("Better.", faults=[{"kind": "status", "status": 529, "times": 2}]))
    done = await holdfast("run", f"[play:{name}] go", "--data", str(shared.data))
    assert done.code == 0, done
    told = [line for line in done.out.splitlines() if re.match(r"\(The model at http://\S+ answered 529", line)]
    assert [f"attempt {n}" in line for n, line in enumerate(told, 1)] == [True, True], done


async def test_json_is_the_events_of_the_api_and_a_result(shared: Stack, asking: str) -> None:
    name = await shared.model.play(bash("echo hello"), say("Done."))
    done = await holdfast("run", f"[play:{name}] go", "--json", "--data", str(shared.data))
    assert done.code == 0, done
    events = [json.loads(line) for line in done.out.splitlines()]
    kinds = [event["type"] for event in events]
    steps = ["user.message", "agent.tool_use", "agent.tool_result", "agent.message"]
    assert [kind for kind in kinds if kind in steps] == steps
    assert kinds[-1] == "result"
    assert "event_delta" not in kinds
    last = events[-1]
    assert (last["exit"], last["stop_reason"]) == (0, "end_turn")
    assert last["usage"]["output_tokens"] > 0
    async with shared.client() as client:
        stored = {event.id: event async for event in client.beta.sessions.events.list(last["session"])}
    for event in events[:-1]:
        assert event == stored[event["id"]].to_dict(mode="json")

    asked = await shared.model.play(bash("echo never"), say("unreached"))
    waits = await holdfast(
        "run", f"[play:{asked}] x", "--json", "--agent", asking, "--data", str(shared.data), answers="y\n"
    )
    assert waits.code == 3
    assert json.loads(waits.out.splitlines()[-1])["stop_reason"] == "requires_action"


async def test_a_detached_task_goes_on_alone_and_can_be_watched(shared: Stack) -> None:
    data = ("--data", str(shared.data))
    gate = "detached"
    name = await shared.model.play(
        bash("echo early", text="I begin."), say("The end of it.", gates=[{"name": gate, "after": 0}])
    )
    sent = await holdfast("run", "-d", f"[play:{name}] go", *data)
    assert sent.code == 0, sent
    session = sent.out.strip()
    assert session.startswith("sesn_")
    assert f"holdfast attach {session[-8:]}" in sent.err
    await shared.model.reached(gate)
    async with on_screen("attach", session[-8:], *data) as screen:
        await screen.shows("thinking")
        assert "I begin." in screen.text
        screen.type("\x03")
        assert await screen.ended() == 0
        assert "left: the agent goes on working" in screen.text
    async with on_screen("attach", session[-8:], *data) as screen:
        await screen.shows("thinking")
        await shared.model.release(gate)
        assert await screen.ended() == 0
        assert screen.text.count("The end of it.") == 1
        assert "✓ done" in screen.text


async def test_a_session_with_messages_that_wait_can_be_watched_and_given_another(shared: Stack) -> None:
    """What waits is listed and not in the log yet, so no stream of events can begin behind it."""
    data, gate = ("--data", str(shared.data)), "queued"
    name = await shared.model.play(say("First.", gates=[{"name": gate, "after": 0}]), say("Second."))
    session = (await holdfast("run", "-d", f"[play:{name}] go", *data)).out.strip()
    await shared.model.reached(gate)
    waiting = await holdfast("run", "-d", "one more", "--session", session, *data)
    assert waiting.code == 0, waiting
    async with started("attach", session, *data) as attached, started("run", "two", "--session", session, *data) as ran:
        async with shared.client() as client:

            async def sent() -> bool:
                page = await client.beta.sessions.events.list(session, types=["user.message"])
                return len(page.data) == 3

            await eventually(sent, what="the third message", within=30)
        assert attached.stdout
        shown = b""
        while b"the agent is at work" not in shown:
            shown += await asyncio.wait_for(attached.stdout.readline(), 30)
        await shared.model.release(gate)
        for process in (attached, ran):
            out, err = await asyncio.wait_for(process.communicate(), 40)
            assert (process.returncode, err) == (0, b""), out
            assert out.count(b"First.") == out.count(b"Second.") == 1
            assert out.count(b"> one more") == 1


async def test_a_task_comes_from_standard_input(shared: Stack) -> None:
    name = await shared.model.play(say("Read."))
    done = await holdfast("run", "-", "--data", str(shared.data), answers=f"[play:{name}] über\nall\n")
    assert done.code == 0, done
    assert "Read." in done.out
    asked = await shared.model.requests(name, count=1)
    assert "über\\nall" in json.dumps(asked[0].body, ensure_ascii=False)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "no task is given"),
        (["  "], "no task is given"),
        (["-"], "no task is on standard input"),
        (["-", "x"], "given twice"),
        (["x", "--session", "s", "--model", "m"], "--model cannot be given with --session"),
        (["x", "--session", "s", "--agent", "a", "--dir", "."], "--agent and --dir cannot be given with --session"),
        (["x", "--detach", "--json"], "exclude each other"),
        (["x", "--detach", "--dir", ".", "--apply"], "--detach does not wait"),
        (["a\udcff"], "not UTF-8"),
    ],
)
async def test_a_command_line_without_sense_is_refused(arguments: list[str], told: str) -> None:
    done = await holdfast("run", *arguments)
    assert done.code == 2, done
    assert told in done.err
    assert done.out == ""


async def test_what_does_not_fit_an_answer_is_refused() -> None:
    for arguments, told in (
        (("allow", "--message", "x"), "needs deny"),
        (("deny", "--result", "x"), "exclude each other"),
        (("--call", "x"), "needs an answer"),
    ):
        done = await holdfast("answer", "s", *arguments)
        assert done.code == 2
        assert told in done.err


async def test_a_stack_without_a_key_is_refused_at_once(tmp_path: Path) -> None:
    pid = os.getpid()
    run = runfile.RunFile(
        base_url="http://127.0.0.1:1", api_key="k", data=str(tmp_path), logs="", nats_url="", credentials={},
        supervisor=pid, supervisor_started=runfile.started(pid), processes={}, health={}, has_model_key=False,
    )  # fmt: skip
    runfile.write(tmp_path / "run.json", run)
    done = await holdfast("run", "hello", "--data", str(tmp_path))
    assert done.code == 2, done
    for way in ("HOLDFAST_MODEL_API_KEY", "holdfast up --scripted"):
        assert way in done.err


async def test_an_api_that_is_gone_is_named_within_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    done = await holdfast("run", "hello", HOLDFAST_BASE_URL=address, HOLDFAST_API_KEY="k")
    assert done.code == 1
    assert f"no answer from {address} for " in done.err
    assert "safe" not in done.err  # of an address that never answered nothing is known


async def test_a_reader_that_goes_away_ends_it_quietly(shared: Stack) -> None:
    name = await shared.model.play(bash("echo a"), say("b\n\nc"))
    async with started("run", f"[play:{name}] go", "--data", str(shared.data)) as process:
        assert process.stdout
        await process.stdout.readline()
        process.stdout._transport.close()  # pyright: ignore[reportAttributeAccessIssue]
        assert process.stderr
        errors = await asyncio.wait_for(process.stderr.read(), 30)
        assert await process.wait() == 141
    assert errors == b""


async def test_what_an_encoding_lacks_costs_a_character(shared: Stack) -> None:
    name = await shared.model.play(bash("echo '→ 👨‍👩‍👧'"), say("5\u00a0€ … done"))
    done = await holdfast("run", f"[play:{name}] go", "--data", str(shared.data), PYTHONIOENCODING="ascii")
    assert done.code == 0, done
    assert "5?? ? done" in done.out
    for command in (("sessions",), ("tail", done.session, "--no-follow"), ("status",)):
        shown = await holdfast(*command, "--data", str(shared.data), PYTHONIOENCODING="ascii")
        assert shown.code == 0, shown
    kept = await holdfast("tail", done.session, "--no-follow", "--data", str(shared.data))
    assert "5\u00a0€ … done" in kept.out
    assert "→ 👨‍👩‍👧" in kept.out


def test_help_and_version() -> None:
    for command in ("run", "attach", "answer"):
        done = subprocess.run([HOLDFAST, command, "--help"], env=ENVIRON, capture_output=True, text=True, check=True)
        assert "For example" in done.stdout
        assert "Exit codes" in done.stdout
    version = subprocess.run([HOLDFAST, "version"], env=ENVIRON, capture_output=True, text=True, check=True)
    assert version.stdout.strip()
    listed = subprocess.run([HOLDFAST, "--help"], env=ENVIRON, capture_output=True, text=True, check=True).stdout
    places = [
        listed.index(f"│ {name} ") for name in ("up", "run", "sessions", "attach", "answer", "tail", "status", "demo")
    ]
    assert places == sorted(places)


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b'{"data": 5', b'["data"]', b'{"data": {}}'])
async def test_an_address_of_another_server_is_told(body: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        done = await holdfast("sessions", HOLDFAST_BASE_URL=address, HOLDFAST_API_KEY="k")
    assert done.code == 1
    assert done.err == (
        f"holdfast sessions: {address} is no API of Holdfast: its list of sessions cannot be read."
        " Check HOLDFAST_BASE_URL.\n"
    )
