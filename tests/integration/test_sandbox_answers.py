"""Whatever a call is given or finds, its answer is one that the service accepts, and later sandboxes still work."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.tools import SANDBOX
from holdfast.sandbox.drivers import make_driver
from holdfast.sandbox.drivers.hand_spec import HandSpec
from holdfast.sandbox.settings import MIB
from tests.support.isolation import Isolation, sandbox_settings
from tests.support.sandbox_tools import Tools, new_tools, text_of


@pytest.fixture
async def tools(tmp_path: Path, isolation: Isolation) -> AsyncIterator[Tools]:
    async with new_tools(tmp_path, memory_bytes=512 * MIB, call_timeout=30) as made:
        yield made


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


INPUTS: dict[str, tuple[str, dict[str, object]]] = {
    "a large number": ("read", {"file_path": "x", "view_range": [1, 10**18]}),
    "a number of 5,000 digits": ("read", {"file_path": "x", "view_range": [1, 10**5000]}),
    "an endless number": ("read", {"file_path": "x", "view_range": [1, float("inf")]}),
    "deep lists": ("read", {"file_path": "x", "view_range": nested(900)}),
    "deeper lists": ("bash", {"command": nested(5000)}),
    "a long path": ("read", {"file_path": "x" * 1_000_000}),
    "a path of control characters": ("write", {"file_path": "\x01" * 200, "content": ""}),
    "a long path outside": ("glob", {"pattern": "x", "path": "/" + "\x01" * 500_000}),
    "a long name of a field": ("write", {"file_path": "x", "content": "", "\x01" * 400_000: 1}),
    "a long pattern": ("grep", {"pattern": "(" * 500_000}),
    "many groups": ("grep", {"pattern": "(x)" * 100_000}),
    "a long glob": ("glob", {"pattern": "{" * 50_000}),
    "many braces": ("glob", {"pattern": "{a,b}" * 5_000}),
    "many brackets": ("glob", {"pattern": "[a" * 50_000}),
    "a long text to replace": ("edit", {"file_path": "text", "old_string": "\x01" * 250_000, "new_string": "x"}),
    "control characters": ("read", {"file_path": "controls"}),
    "lines of control characters": ("grep", {"pattern": ".", "path": "controls"}),
    "names of control characters": ("glob", {"pattern": "names/*"}),
    "output of control characters": ("bash", {"command": "cat controls controls"}),
    "a line without an end": ("bash", {"command": "head -c 3000000 /dev/zero"}),
    "half sequences": ("bash", {"command": "for i in {1..50000}; do printf '\\033]0;'; done"}),
    "a name for an answer": ("bash", {"command": "x" * 100_000}),
    "an unknown tool": ("fly\x01" * 1000, {}),
}


@pytest.mark.parametrize("name", INPUTS)
async def test_no_call_breaks_the_protocol_of_its_sandbox(tools: Tools, name: str) -> None:
    await tools.sh(
        "kept=1; echo text > text; head -c 250000 /dev/zero | tr '\\0' '\\1' > controls; mkdir names; cd names;"
        ' for i in $(seq 300); do touch $(printf "\\001%.0s" {1..200})$i; done; cd ..'
    )
    tool, given = INPUTS[name]
    outcome = await tools.call(tool, **given)
    assert text_of(outcome)
    assert len(text_of(outcome)) < 400_000
    assert await tools.sh("echo $kept") == "1\n", "sandbox and shell have lived through it"


TREES = {
    "nothing may enter the workspace": "chmod 000 /workspace",
    "nothing may write to the workspace": "chmod 500 /workspace",
    "no home": "rm -rf .holdfast",
    "a file for a home": "rm -rf .holdfast; touch .holdfast",
    "a FIFO for a home": "rm -rf .holdfast; mkfifo .holdfast",
    "a link for a home": "rm -rf .holdfast; ln -s .holdfast .holdfast",
    "a home that nobody may enter": "chmod 000 .holdfast",
    "a folder for a mark": "rm -f .holdfast/shell; mkdir .holdfast/shell",
    "a deep tree": "python3 -c \"import os\nfor _ in range(150): os.mkdir('d' * 100); os.chdir('d' * 100)\"",
    "names that are no text": "touch $'\\xff\\n' $'\\001'; mkdir -p $'a\\nb'/$'\\xfe'",
    "the agent's own names": "mkdir agent; touch agent/__init__.py sitecustomize.py usercustomize.py json.py os.py",
    "settings of programs": "cd ~; echo exit 1 | tee .bashrc .profile .bash_profile .inputrc",
}


@pytest.mark.parametrize("command", TREES.values(), ids=TREES)
async def test_no_call_leaves_a_workspace_in_which_the_next_sandbox_dies(
    tmp_path: Path, isolation: Isolation, command: str
) -> None:
    driver = make_driver(sandbox_settings(data_dir=str(tmp_path)))
    await driver.open(new_id("wrk"))
    try:
        key = Key("default", new_session_id())
        first = await driver.create(HandSpec(key=key, kind=SANDBOX, generation=new_id("sbx")))
        await first.run("x", "bash", {"command": f"echo kept > file; {command}"})
        await first.kill("the test")
        tools = Tools(await driver.create(HandSpec(key=key, kind=SANDBOX, generation=new_id("sbx"))))
        await tools.sh("chmod 700 /workspace")
        assert await tools.sh("cat file; pwd") == "kept\n/workspace\n"
        for tool, given in (
            ("read", {"file_path": "file"}), ("write", {"file_path": "new/file", "content": "x"}),
            ("edit", {"file_path": "file", "old_string": "kept", "new_string": "still"}), ("glob", {"pattern": "file"}),
            ("grep", {"pattern": "still", "path": "file"}),
        ):  # fmt: skip
            outcome = await tools.call(tool, **given)
            assert not outcome.is_error, (tool, outcome)
        long = await tools.sh("seq 1 30000")
        assert ("the whole output is in" in long) != ("it could not be kept" in long)
        await tools.sandbox.kill("the test")
        await driver.remove_files(key)
        assert not list((tmp_path / "workspaces").rglob(key.session))
    finally:
        await driver.close()


async def test_a_new_sandbox_says_that_the_shell_of_the_last_one_is_gone(tmp_path: Path, isolation: Isolation) -> None:
    driver = make_driver(sandbox_settings(data_dir=str(tmp_path)))
    await driver.open(new_id("wrk"))
    try:
        key = Key("default", new_session_id())
        for number in range(3):
            sandbox = await driver.create(HandSpec(key=key, kind=SANDBOX, generation=new_id("sbx")))
            tools = Tools(sandbox)
            assert "new sandbox" not in await tools.text("write", file_path="f", content="x")
            said = await tools.sh("echo on")
            told = "\n[this is a new sandbox: the shell of the last one with its folder, variables and functions"
            assert said.startswith("on" + (told if number else "\n")), number
            assert await tools.sh("echo on") == "on\n"
            await sandbox.kill("the test")
    finally:
        await driver.close()
