"""`holdfast run`, `attach` and `answer` as people and scripts use them: in a terminal, and in pipes."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.cli.embedded import runfile
from tests.support.command import ASKING, ENVIRON, HOLDFAST, holdfast, started
from tests.support.eventually import eventually
from tests.support.model import bash, call, say
from tests.support.stack import Stack, stack
from tests.support.terminal import Terminal, terminal

pytestmark = pytest.mark.timeout(180)  # a test starts the program several times, each of which imports the SDK

INTERRUPTED = 130


@contextlib.asynccontextmanager
async def on_screen(*arguments: str, width: int = 80, **environ: str) -> AsyncIterator[Terminal]:
    given = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **environ}
    async with terminal(HOLDFAST, *arguments, environ=given, width=width) as made:
        yield made


def let_go(shared: Stack, session: str) -> None:
    """Make the file `go` in the workspace of the session with that short id."""
    [workspace] = Path(shared.data, "sandbox", "workspaces", "default").glob(f"*{session}")
    (workspace / "go").touch()


@pytest.fixture
def asking(tmp_path: Path) -> str:
    path = tmp_path / "asker.yaml"
    path.write_text(ASKING)
    return str(path)


# --- in a pipe ------------------------------------------------------------------------------------------------------


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


# --- in a terminal --------------------------------------------------------------------------------------------------

ANSWER = """## Result

The **poem** of 👨‍👩‍👧 costs 5\u00a0€:

old pond
frog leaps in List<String>

- a point that is so long that it does not fit in one line of any terminal in this test, however wide

| name | value |
|---|---|
| one | two |

The end."""


@pytest.mark.parametrize("width", [40, 80])
async def test_a_run_on_a_terminal(shared: Stack, width: int) -> None:
    think, work = f"think{width}", f"work{width}"
    name = await shared.model.play(
        call("write", text=ANSWER, file_path="/workspace/poem.txt", content="a\nb\n")
        | {"gates": [{"name": think, "after": 0}], "delay": 0.05},
        call("edit", file_path="poem.txt", old_string="b", new_string="B"),
        bash("until test -e go; do sleep 0.1; done; echo finished"),
        say("All done.", gates=[{"name": work, "after": 0}]),
    )
    async with on_screen("run", f"[play:{name}] please", "--data", str(shared.data), width=width) as screen:
        await screen.shows("thinking · ")
        assert not screen.echoes
        await shared.model.release(think)
        await screen.shows("writing · ")
        assert "The end." not in await screen.shows("frog leaps")  # before the answer is complete
        await screen.shows("running Bash(")
        await asyncio.to_thread(let_go, shared, screen.text.split()[1])
        await shared.model.reached(work)
        await screen.shows("⎿ finished")
        await shared.model.release(work)
        assert await screen.ended() == 0
    shown = screen.text
    assert "**" not in shown
    assert "|--" not in shown
    for whole in (
        "The poem of 👨‍👩‍👧 costs 5\u00a0€:",
        "● Write(poem.txt) +2 lines",
        "    - b",
        "    + B",
        "All done.",
    ):
        assert shown.count(whole) == 1, shown
    assert "List<String>" in shown
    assert "please" not in shown
    assert "thinking" not in shown  # the sign of life leaves nothing behind
    body = shown[: shown.index("✓ done")]
    assert max(map(len, body.splitlines())) <= width, shown
    assert "\n\n\n" not in body
    assert "--session" in shown
    assert screen.raw.rstrip().endswith(b"\x1b[?25h") or screen.raw.rindex(b"\x1b[?25h") > screen.raw.rindex(
        b"\x1b[?25l"
    )


async def test_color_and_motion_can_be_turned_off(shared: Stack) -> None:
    name = await shared.model.play(bash("echo x; exit 1"), say("Some `code`."))
    data = ("run", f"[play:{name}] go", "--data", str(shared.data))
    async with on_screen(*data, NO_COLOR="1") as screen:
        assert await screen.ended() == 0
        assert "✗ x" in screen.text
        colors = [part.partition(b"m")[0].split(b";") for part in screen.raw.split(b"\x1b[")[1:] if b"m" in part[:12]]
        assert not [codes for codes in colors if any(code.isdigit() and 30 <= int(code) < 108 for code in codes)]
    async with on_screen(*data, TERM="dumb") as screen:
        assert await screen.ended() == 0
        assert "✗ x" in screen.text
        assert b"\x1b" not in screen.raw


async def test_questions_are_asked_and_always_holds(shared: Stack, asking: str) -> None:
    name = await shared.model.play(
        bash("echo first"),
        bash("echo second"),
        call("read", file_path="none"),
        call("weather", city="Rome"),
        say("Bye."),
    )
    async with on_screen("run", f"[play:{name}] go", "--agent", asking, "--data", str(shared.data)) as screen:
        await screen.shows("Allow? [y]es, [n]o or Enter, [a]lways bash until this command ends")
        assert screen.echoes
        screen.type("a\n")
        await screen.shows("[a]lways read")
        assert "⎿ second" in screen.text
        screen.type("\n")
        await screen.shows("Result of weather")
        screen.type("sunny\n")
        assert await screen.ended() == 0
    assert screen.text.count("● Bash(echo first)") == 1
    assert screen.text.count("Allow?") == 2
    asked = await shared.model.requests(name, count=5)
    assert "sunny" in json.dumps(asked[4].body)
    assert "rejected" in json.dumps(asked[3].body)


async def test_ctrl_c_interrupts_the_agent(shared: Stack) -> None:
    name = await shared.model.play(bash("sleep 100"), say("unreached"))
    async with on_screen("run", f"[play:{name}] go", "--data", str(shared.data)) as screen:
        await screen.shows("running Bash(sleep 100)")
        screen.type("\x03")
        assert await screen.ended() == INTERRUPTED
        assert "■ interrupted" in screen.text
        assert 'go on: holdfast run "…" --session ' in screen.text
        assert "unreached" not in screen.text
        assert "^C" not in screen.text


async def test_ctrl_c_at_a_question_withdraws_it(shared: Stack, asking: str) -> None:
    name = await shared.model.play(bash("touch forbidden"), say("unreached"))
    async with on_screen("run", f"[play:{name}] go", "--agent", asking, "--data", str(shared.data)) as screen:
        await screen.shows("Allow?")
        screen.type("\x03")
        await screen.shows("interrupting")
        screen.type("y\n")
        assert await screen.ended() == INTERRUPTED
        assert "the agent was interrupted" in screen.text
        assert "400" not in screen.text
    [record] = await shared.model.requests(name, count=1)
    assert record


async def test_what_was_typed_before_a_question_is_no_answer(shared: Stack, asking: str) -> None:
    gate = "typed"
    name = await shared.model.play(bash("echo ran") | {"gates": [{"name": gate, "after": 0}]}, say("Bye."))
    async with on_screen("run", f"[play:{name}] go", "--agent", asking, "--data", str(shared.data)) as screen:
        await screen.shows("thinking")
        screen.type("y\n")
        await shared.model.release(gate)
        await screen.shows("Allow?")
        screen.type("n\n")
        assert await screen.ended() == 0
        assert "⎿ ran" not in screen.text


async def test_a_question_that_is_answered_elsewhere_goes_away(shared: Stack, asking: str) -> None:
    name = await shared.model.play(bash("echo ran"), say("Bye."))
    data = ("--data", str(shared.data))
    async with on_screen("run", f"[play:{name}] go", "--agent", asking, *data) as screen:
        await screen.shows("Allow?")
        assert (await holdfast("answer", screen.text.split()[1], "allow", *data)).code == 0
        assert await screen.ended() == 0
        assert "answered elsewhere" in screen.text
        assert "⎿ ran" in screen.text


async def test_a_run_is_left_and_goes_on(shared: Stack) -> None:
    gate = "left"
    name = await shared.model.play(say("Later.", gates=[{"name": gate, "after": 0}]))
    async with on_screen("run", f"[play:{name}] go", "--data", str(shared.data)) as screen:
        await screen.shows("thinking")
        screen.type("\x1c")  # Ctrl-\
        assert await screen.ended() == INTERRUPTED
        assert "left: the agent goes on working" in screen.text
        assert "holdfast attach " in screen.text
        session = screen.text.split()[1]
    await shared.model.release(gate)

    async def done() -> bool:
        return "Later." in (await holdfast("attach", session, "--data", str(shared.data))).out

    await eventually(done, what="the end of the turn")


# --- stacks of their own --------------------------------------------------------------------------------------------


async def test_a_run_goes_on_when_the_api_is_killed_and_says_the_truth_when_it_is_left(tmp_path: Path) -> None:
    with stack(tmp_path, harnesses=1) as own:
        data = ("--data", str(own.data))
        name = await own.model.play(bash("sleep 2; echo awake"), say("All is well."))
        async with started("run", f"[play:{name}] go", *data) as process:
            assert process.stdout
            while b"sleep 2" not in await asyncio.wait_for(process.stdout.readline(), 30):
                pass
            old = own.kill("session")
            out, err = await asyncio.wait_for(process.communicate(), 40)
        assert process.returncode == 0, (out, err)
        assert b"connecting again" in out
        assert out.count("⎿ awake".encode()) == 1
        assert out.count(b"All is well.") == 1
        await own.replaced("session", old)

        hung = await own.model.play(bash("sleep 100"), say("unreached"))
        async with on_screen("run", f"[play:{hung}] go", *data) as screen:
            await screen.shows("running Bash(sleep 100)")
            own.signal("harness-1", signal.SIGSTOP)
            screen.type("\x03")
            await screen.shows("interrupting")
            screen.type("\x03")
            assert await screen.ended() == INTERRUPTED
            assert "left: the agent goes on working" in screen.text
            assert "■ interrupted" not in screen.text
            own.signal("harness-1", signal.SIGCONT)
