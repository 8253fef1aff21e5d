"""`holdfast run`, `attach` and `answer` as people use them: in a terminal."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from tests.support.command import ASKING, holdfast, started
from tests.support.eventually import eventually
from tests.support.model import bash, call, say
from tests.support.stack import Stack, stack
from tests.support.terminal import on_screen

pytestmark = pytest.mark.timeout(180)  # a test starts the program several times, each of which imports the SDK

INTERRUPTED = 130


def make_go(shared: Stack, session: str) -> None:
    """Make the file `go` in the workspace of the session with that short id."""
    [workspace] = Path(shared.data, "sandbox", "workspaces", "default").glob(f"*{session}")
    (workspace / "go").touch()


@pytest.fixture
def asking(tmp_path: Path) -> str:
    path = tmp_path / "asker.yaml"
    path.write_text(ASKING)
    return str(path)


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
        await asyncio.to_thread(make_go, shared, screen.text.split()[1])
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
