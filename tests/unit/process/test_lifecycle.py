import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

HEAD = """
import asyncio, ctypes
from holdfast.process import lifecycle, logs
from holdfast.process.settings import BadSettings, ProcessSettings
logs.setup("x")
def ready(): print("ready", flush=True)
"""


def start(body: str, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + body],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, list[dict]]:
    _, err = process.communicate(timeout=20)
    return process.returncode, [json.loads(line) for line in err.splitlines()]


def test_sigterm_sets_the_stop_event_and_the_exit_code_is_zero() -> None:
    process = start("""
async def main(stop):
    ready()
    await stop.wait()
lifecycle.run(main)
""")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    code, lines = finish(process)
    assert code == 0
    assert lines[-1]["event"] == "stopping"


def test_a_second_signal_exits_at_once() -> None:
    process = start("""
async def main(stop):
    ready()
    await stop.wait()
    ready()
    await asyncio.sleep(60)
lifecycle.run(main, drain=60)
""")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.stdout.readline()
    start_at = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code, _ = finish(process)
    assert code == 128 + signal.SIGTERM
    assert time.monotonic() - start_at < 5


def test_a_drain_that_takes_too_long_is_cut() -> None:
    process = start("""
async def main(stop):
    ready()
    await asyncio.sleep(60)
lifecycle.run(main, drain=0.2)
""")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    code, lines = finish(process)
    assert code == 3
    assert lines[-1]["event"] == "the drain took too long"


def test_a_crash_names_its_cause_in_one_line() -> None:
    code, lines = finish(
        start("""
async def fail():
    raise KeyError("boom")
async def main(stop):
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fail())
lifecycle.run(main)
""")
    )
    assert code == 1
    assert lines[-1]["event"] == "crashed"
    assert lines[-1]["cause"] == "KeyError: 'boom'"


def test_a_bad_setting_is_refused_without_its_value() -> None:
    body = """
async def main(settings, stop): pass
lifecycle.launch("x", ProcessSettings, main)
"""
    code, lines = finish(start(body, HOLDFAST_DRAIN_TIMEOUT="hunter2"))
    assert code == 2
    assert "HOLDFAST_DRAIN_TIMEOUT" in lines[-1]["cause"]
    assert "hunter2" not in str(lines)
    code, lines = finish(start(body, HOLDFAST_LOG_LEVEL="loud"))
    assert code == 2


def test_a_process_can_forbid_that_others_read_it() -> None:
    process = start("""
async def main(stop):
    lifecycle.forbid_inspection()
    print(ctypes.CDLL(None).prctl(3), flush=True)
    await stop.wait()
lifecycle.run(main)
""")
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"  # PR_GET_DUMPABLE
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    assert re.search(r"Max core file size +0 +0", limits)
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 0


def test_a_service_may_have_as_many_descriptors_as_the_system_allows() -> None:
    process = start("""
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
async def main(settings, stop):
    print(resource.getrlimit(resource.RLIMIT_NOFILE) == (min(hard, 1 << 20), hard), flush=True)
lifecycle.launch("x", ProcessSettings, main)
""")
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "True\n")
