"""What a sandbox holds on the disk of its host counts, listed or not, and it cannot fill that disk."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.tools import SANDBOX
from holdfast.sandbox.drivers import SandboxLost, make_driver
from holdfast.sandbox.drivers.bubblewrap import disk
from holdfast.sandbox.drivers.driver import Driver
from holdfast.sandbox.drivers.hand_spec import HandSpec
from holdfast.sandbox.settings import MIB, SandboxSettings
from tests.escape.conftest import Inside
from tests.support.isolation import Isolation, sandbox_settings

HIDDEN = {
    "deleted files that are open": (
        "import os, time\nkept = []\nwhile True:\n    file = open('f', 'wb', buffering=0)\n"
        "    file.write(b'x' * (8 << 20)); kept.append(file); os.unlink('f'); time.sleep(0.05)\n"
    ),
    "a deleted file that is only mapped": (
        "import mmap, os, time\nfile = open('f', 'wb+', buffering=0)\nfor _ in range(7):\n"
        "    file = open('f', 'wb+', buffering=0); file.write(b'x' * (16 << 20))\n"
        "    kept = globals().setdefault('kept', []); kept.append(mmap.mmap(file.fileno(), 0)); os.unlink('f')\n"
        "    file.close()\ntime.sleep(99)\n"
    ),
    "a file of a thread with descriptors of its own": (
        "import os, time\nr, w = os.pipe()\nif os.fork():\n    time.sleep(99)\nos.setsid()\nfor n in range(12):\n"
        "    file = open(f'f{n}', 'wb', buffering=0); file.write(b'x' * (8 << 20)); os.unlink(f'f{n}')\n"
        "    globals()[f'k{n}'] = file\ntime.sleep(99)\n"
    ),
    "a folder that may not be read": (
        "import os, time\nos.mkdir('d'); os.chdir('d'); os.chmod('.', 0o300)\n"
        "for n in range(20): open(f'f{n}', 'wb').write(b'x' * (8 << 20))\nos.chmod('.', 0); time.sleep(99)\n"
    ),
    "a workspace that may not be read": (
        "import os\nos.chmod('.', 0o300)\nfor n in range(20): open(f'f{n}', 'wb').write(b'x' * (8 << 20))\n"
        "while True: os.chmod('/workspace', 0o300)\n"
    ),
}
"""Programs that put more than the 64 MiB of the settings onto the disk of the host."""


@pytest.mark.parametrize("program", HIDDEN.values(), ids=HIDDEN)
async def test_nothing_that_is_hidden_escapes_the_limit(inside: Inside, program: str) -> None:
    with pytest.raises(SandboxLost) as lost:
        await inside.python(program)
    assert "limit of 64 MiB" in lost.value.reason or "cannot be measured" in lost.value.reason


@pytest.fixture(params=["space", "files"])
async def scarce(request: pytest.FixtureRequest, tmp_path: Path, isolation: Isolation) -> AsyncIterator[Driver]:
    """A driver on a disk of which less than the reserve is free, in bytes or in files."""
    free = disk.free(tmp_path)
    if request.param == "files" and free.files == disk.NO_LIMIT:
        pytest.skip("this file system has no limit of files")
    settings: SandboxSettings = sandbox_settings(
        data_dir=str(tmp_path),
        memory_bytes=192 * MIB,
        disk_reserve_bytes=free.size * 2 if request.param == "space" else 0,
        disk_reserve_files=free.files * 2 if request.param == "files" else 0,
    )
    driver = make_driver(settings)
    await driver.open(new_id("wrk"))
    yield driver
    await asyncio.wait_for(driver.close(), 20)


async def test_on_a_full_disk_only_the_sandbox_that_grows_is_ended(scarce: Driver, tmp_path: Path) -> None:
    one, other = [
        Inside(scarce, await scarce.create(HandSpec(key=key, kind=SANDBOX, generation=new_id("sbx"))), key, tmp_path)
        for key in (Key("default", new_session_id()), Key("default", new_session_id()))
    ]
    await other.sh("keep=1; echo small > file; head -c 1M /dev/zero > one")
    with pytest.raises(SandboxLost) as lost:
        await one.python(
            "n = 0\nwhile True:\n    n += 1\n    open(f'f{n}', 'wb').write(b'x' * 4096)\n"
            "    if n % 100 == 0: open(f'f{n}', 'wb').write(b'x' * (4 << 20))\n"
        )
    assert "the disk of the host is nearly full" in lost.value.reason
    assert await other.sh("echo $keep; cat file; rm one; echo on") == "1\nsmall\non\n"
