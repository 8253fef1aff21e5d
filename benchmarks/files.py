"""A file of 1 GB through the SDK, up and down: throughput, the memory of the edge, and what a neighbour notices."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import psutil

from benchmarks.erase import Writer
from benchmarks.result import Row, Spread, at_most, spread
from benchmarks.rig import Bench, Rig, ms, run

TITLE = "a file of 1 GB up and down, and the appends of a neighbour meanwhile"

MIB = 1 << 20

GROWTH_LIMIT_MIB = 64
"""Memory that the edge may take for one upload or download, whatever the size of the file."""

SAMPLE_INTERVAL_S = 0.02


def _make(path: Path, size_mib: int) -> None:
    """A file whose chunks all differ."""
    block = os.urandom(MIB - 8)
    with path.open("wb") as out:
        for number in range(size_mib):
            out.write(number.to_bytes(8, "big") + block)


def _copied(source: Path, to: Path) -> float:
    """Seconds to read the file and write it to the same disk, until it is there."""
    begin = time.perf_counter()
    with source.open("rb") as data, to.open("wb") as out:
        while chunk := data.read(MIB):
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    took = time.perf_counter() - begin
    to.unlink()
    return took


class Growth:
    """The most memory that a process takes while the block runs, over what it had before, in MiB."""

    def __init__(self, pid: int) -> None:
        self._memory: Callable[[], int] = lambda: psutil.Process(pid).memory_info().rss
        self.mib = 0.0

    async def __aenter__(self) -> Self:
        self._before = self._memory()
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            self.mib = max(self.mib, (self._memory() - self._before) / MIB)
            await asyncio.sleep(SAMPLE_INTERVAL_S)


async def _up_and_down(rig: Rig, source: Path, size: int, growth: Growth) -> tuple[float, float, str]:
    """Seconds of the upload and of the download of a file of `size` bytes, and the id."""
    async with rig.client() as client, growth:
        begin = time.perf_counter()
        with source.open("rb") as data:
            made = await client.beta.files.upload(file=("large.bin", data))
        up = time.perf_counter() - begin
        begin, got = time.perf_counter(), 0
        async with client.beta.files.with_streaming_response.download(made.id) as answer:
            async for part in answer.iter_bytes(MIB):
                got += len(part)
        down = time.perf_counter() - begin
        assert got == size == made.size_bytes
        await client.beta.files.delete(made.id)
    return up, down, made.id


async def _measure(rig: Rig) -> list[Row]:
    size_mib, seconds = rig.options.count(1024, 32), rig.options.count(20, 2)
    source = rig.options.folder / "large.bin"
    await asyncio.to_thread(_make, source, size_mib)
    copy = await asyncio.to_thread(_copied, source, rig.options.folder / "copy.bin")
    growth = Growth(rig.stack.run.processes["session"])
    async with rig.bus() as bus:
        neighbour = Writer(bus)
        floor = spread(ms(await neighbour.for_seconds(seconds)))
        work = asyncio.create_task(_up_and_down(rig, source, size_mib * MIB, growth))
        beside: list[float] = []
        while not work.done():
            beside += await neighbour.for_seconds(1)
        up, down, _ = await work
    await asyncio.to_thread(source.unlink)
    return [
        _rate("upload", size_mib, up, copy),
        _rate("download", size_mib, down, copy),
        Row(
            name="memory of the session service, over that before", unit="MiB", found=spread([growth.mib]),
            aims=[at_most(f"at most {GROWTH_LIMIT_MIB} MiB", growth.mib, GROWTH_LIMIT_MIB)],
        ),
        Row(
            name="append of a neighbour beside both", unit="ms", found=spread(ms(beside)), floor=floor,
            floor_name="the same without them",
        ),
    ]  # fmt: skip


def _rate(name: str, size_mib: int, took_s: float, floor_s: float) -> Row:
    def rate(seconds: float) -> Spread:
        return spread([size_mib * MIB / seconds / 1e6], rate=True)

    return Row(
        name=f"{name} of {size_mib} MiB through the SDK", unit="MB/s", found=rate(took_s), floor=rate(floor_s),
        floor_name="copied on the same disk, with fsync",
    )  # fmt: skip


def figure(bench: Bench) -> list[Row]:
    with bench.rig(own=True) as rig:
        return run(lambda: _measure(rig))
