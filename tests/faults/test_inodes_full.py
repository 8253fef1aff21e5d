"""A session that makes files without end, on a disk with few inodes, ends alone: the case is in the other file.

It needs a small disk: a tmpfs in a mount namespace, which root and ordinary users can make.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).with_name("inodes_full_cases.py")


@pytest.mark.timeout(300)
def test_a_disk_with_few_inodes_in_a_mount_namespace(tmp_path: Path) -> None:
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
