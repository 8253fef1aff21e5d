"""The egress proxy: requests and downloads from inside a sandbox, against the same program straight on the host.

And what downloads of one sandbox cost the calls of another: the proxy runs in the process of the worker.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from benchmarks.result import Row, spread
from benchmarks.rig import Bench, ms, run
from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.tools import SANDBOX
from holdfast.sandbox.drivers import Sandbox, make_driver
from holdfast.sandbox.drivers.hand_spec import HandSpec
from holdfast.sandbox.egress import Egress
from holdfast.sandbox.settings import SandboxSettings

TITLE = "egress proxy: one request (ms), one download (MB/s), a call beside downloads (ms)"

ADDRESS = "127.0.0.2"
"""Of the server: inside, requests to 127.0.0.1 do not go to the proxy."""

BIG_MB = 20

SERVER = """
import asyncio
BODY = bytes(BIG_MB_000_000)
async def answer(reader, writer):
    head = await reader.readuntil(b"\\r\\n\\r\\n")
    body = BODY if b" /big " in head.partition(b"\\r\\n")[0] else b"hello"
    writer.write(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
    await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(answer, "ADDRESS", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
""".replace("BIG_MB_000_000", str(BIG_MB * 1_000_000)).replace("ADDRESS", ADDRESS)

PROGRAM = """
import json, sys, time, urllib.request
url, small, big = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def seconds(path):
    begin = time.perf_counter()
    urllib.request.urlopen(url + path).read()
    return time.perf_counter() - begin
seconds("/")
print(json.dumps([[seconds("/") for _ in range(small)], [seconds("/big") for _ in range(big)]]))
"""


@contextlib.asynccontextmanager
async def server() -> AsyncGenerator[str]:
    """The address of a server in a process of its own."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVER, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    try:
        yield f"http://{ADDRESS}:{int(await process.stdout.readline())}"
    finally:
        process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def sandboxes(folder: Path, count: int) -> AsyncGenerator[list[Sandbox]]:
    """Sandboxes of one driver that may reach the server."""
    driver = make_driver(SandboxSettings(data_dir=str(folder), egress_hosts=ADDRESS))
    await driver.open(new_id("wrk"))
    driver.keep_until(time.monotonic() + 600)
    try:
        specs = [
            HandSpec(
                key=Key("bench", new_session_id()),
                kind=SANDBOX,
                generation=new_id("sbx"),
                egress=Egress("unrestricted"),
            )
            for _ in range(count)
        ]
        yield [await driver.create(spec) for spec in specs]
    finally:
        await driver.close()


async def _outside(url: str, small: int, big: int) -> list[list[float]]:
    arguments = (sys.executable, "-c", PROGRAM, url, str(small), str(big))
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE, env={})
    printed, _ = await process.communicate()
    return json.loads(printed)


async def _inside(box: Sandbox, url: str, small: int, big: int) -> list[list[float]]:
    await box.run(new_id("call"), "write", {"file_path": "fetch.py", "content": PROGRAM})
    outcome = await box.run(new_id("call"), "bash", {"command": f"python3 fetch.py {url} {small} {big}"})
    assert not outcome.is_error, outcome
    return json.loads(str(outcome.content[0]["text"]))


async def _calls(box: Sandbox, count: int) -> list[float]:
    found: list[float] = []
    for _ in range(count):
        begin = time.perf_counter()
        await box.run(new_id("call"), "bash", {"command": "echo hello"})
        found.append(time.perf_counter() - begin)
    return found


async def _measure(bench: Bench) -> list[Row]:
    small, big, calls = bench.options.count(200, 20), bench.options.count(20, 2), bench.options.count(300, 30)
    async with server() as url, sandboxes(bench.options.folder / "egress", 2) as (one, other):
        direct, proxied = await _outside(url, small, big), await _inside(one, url, small, big)
        alone = await _calls(other, calls)
        downloads = asyncio.create_task(_inside(one, url, 1, 100_000))
        beside = await _calls(other, calls)
        await one.kill("measured")
        await asyncio.gather(downloads, return_exceptions=True)
    rates = [[BIG_MB / seconds for seconds in found[1]] for found in (proxied, direct)]
    return [
        Row(name="request", unit="ms", found=spread(ms(proxied[0])), floor=spread(ms(direct[0])), floor_name="direct"),
        Row(name=f"download of {BIG_MB} MB", unit="MB/s", found=spread(rates[0], rate=True),
            floor=spread(rates[1], rate=True), floor_name="direct"),
        Row(name="call of another sandbox beside downloads", unit="ms", found=spread(ms(beside)),
            floor=spread(ms(alone)), floor_name="without them"),
    ]  # fmt: skip


def figure(bench: Bench) -> list[Row]:
    return run(lambda: _measure(bench))
