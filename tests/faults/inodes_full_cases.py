"""Few inodes under a stack. `test_inodes_full.py` runs this in a mount namespace of its own."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.sandbox.drivers.bubblewrap import disk
from tests.faults.conftest import Start
from tests.support.conversation import Conversation, results, text
from tests.support.model import bash, say

INODES = 120_000

BOMB = """python3 -c '
n = 0
while True:
    open(f"f{n}", "w").close()
    n += 1
'"""


@pytest.fixture
def few_inodes(tmp_path: Path) -> Iterator[Path]:
    """The data folder of the stack, on a disk of its own with room for INODES files."""
    data = tmp_path / "data"
    data.mkdir()
    options = f"size=1g,nr_inodes={INODES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "holdfast-test", str(data)], check=True)
    yield data
    subprocess.run(["umount", "--lazy", str(data)], check=True)


async def test_a_session_that_makes_files_without_end_ends_alone(few_inodes: Path, start: Start) -> None:
    stack = start()
    before = stack.run
    async with stack.client() as client:
        neighbour, bomber = [await Conversation.begin(client) for _ in range(2)]
        await neighbour.say(await stack.model.play(bash("keep=1; echo there"), say("One.")))
        await neighbour.until_idle()

        await bomber.say(await stack.model.play(bash(BOMB), say("Over.")))
        (bombed,) = results(await bomber.until_idle(within=60)).values()
        assert bombed.is_error
        assert "the disk of the host is nearly full: it has little room for files left" in text(bombed)
        assert disk.free(few_inodes).files > 1000, "for what the stack itself makes"

        await neighbour.say(await stack.model.play(bash("echo $keep; touch new; ls"), say("Two.")))
        found = results(await neighbour.until_idle())
        assert [text(result) for result in found.values()] == ["there\n", "1\nnew\n"]
        # The bomber may tidy, and goes on.
        await bomber.say(await stack.model.play(bash("find . -name 'f*' -delete; ls | wc -l"), say("Tidy.")))
        assert text(list(results(await bomber.until_idle()).values())[-1]).startswith("0\n")
    assert stack.run.supervisor == before.supervisor
    assert stack.run.processes == before.processes, "nothing was restarted"
    stack.stop()
    stack.start()
