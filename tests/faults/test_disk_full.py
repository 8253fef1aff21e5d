"""The disk under a stack becomes full and has room again: errors at once, nothing acknowledged lost, turns go on.

The tests are in `disk_full_cases.py`. They need a small disk: a tmpfs in a mount namespace, which root and ordinary
users can make.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).with_name("disk_full_cases.py")


@pytest.mark.timeout(600)
def test_a_full_disk_in_a_mount_namespace(tmp_path: Path) -> None:
    namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    options = ["-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={tmp_path / 'cases'}"]
    done = subprocess.run(
        [*namespace, sys.executable, "-m", "pytest", *options, str(CASES)],
        cwd=CASES.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
