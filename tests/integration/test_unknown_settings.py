"""A misspelt setting is refused before anything starts, not ignored."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import holdfast


async def test_up_refuses_a_misspelt_setting_and_makes_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    done = await holdfast("up", "--data", str(data), "--port", "0", HOLDFAST_MAX_TOKEN="secret-value")
    assert done.code == 1
    assert done.err.strip() == "holdfast up: HOLDFAST_MAX_TOKEN: unknown setting; did you mean HOLDFAST_MAX_TOKENS?"
    assert not data.exists()


@pytest.mark.parametrize("service", ["session", "harness", "sandbox", "vault"])
def test_a_service_refuses_a_misspelt_setting(service: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"holdfast.{service}"], env={"HOLDFAST_NAT_URL": "secret-value"}, capture_output=True,
        text=True, timeout=60, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert json.loads(line)["cause"] == (
        "BadSettings: HOLDFAST_NAT_URL: unknown setting; did you mean HOLDFAST_NATS_URL?"
    )
