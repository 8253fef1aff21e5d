"""The contracts as the author of a bus or a hand runs them: the files of services/testing/README.md, elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "services" / "testing" / "README.md").read_text()
CLOCK_WORKER = """

from tests.support.clock import ClockDriver, hand_worker


def my_worker(bus):
    return hand_worker(bus, ClockDriver())
"""
BROKEN_LOG = """

import holdfast.testing.memory.server

holdfast.testing.memory.server.MemoryServer.commits = lambda self, key: []
"""


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def outcome(folder: Path, part: str, tests: str, more: str = "") -> str:
    """The output of pytest for `tests` of a part, in a project with the `conftest.py` of the README and `more`."""
    *_, fixtures, module, hand = blocks()
    if part == "hands":
        more = f"{more}\n{hand}"
    (folder / "conftest.py").write_text(fixtures + more)
    (folder / f"test_{part}.py").write_text(module.replace(".log ", f".{part} "))
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", tests, folder]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=50, check=False, env=environment
    )  # fmt: skip
    return done.stdout + done.stderr


def test_the_readme_runs_the_contract_over_a_bus(tmp_path: Path) -> None:
    output = outcome(tmp_path, "kv", "test")
    assert re.search(r"^7 passed in", output, re.MULTILINE), output


def test_the_readme_runs_the_contract_over_a_hand(tmp_path: Path) -> None:
    output = outcome(tmp_path, "hands", "test", CLOCK_WORKER)
    contract = ROOT / "services" / "testing" / "contracts" / "hands.py"
    count = len(re.findall(r"^async def test_|^def test_", contract.read_text(), re.MULTILINE))
    assert count > 10
    assert re.search(rf"^{count} passed in", output, re.MULTILINE), output


def test_a_bus_that_breaks_the_contract_fails_with_the_values(tmp_path: Path) -> None:
    output = outcome(tmp_path, "log", "commits_in_order", BROKEN_LOG)
    assert "1 failed" in output
    assert re.search(r"assert \[\] == \[Stored", output), output


@pytest.mark.parametrize("number", range(2))
def test_the_other_examples_run(number: int) -> None:
    exec(blocks()[number], {"__name__": "example"})
