"""Readiness probes of nats-server and of the services."""

import asyncio

import msgspec

from holdfast.cli.embedded.probes import nats_ready, readiness
from holdfast.cli.embedded.program import Readiness
from holdfast.process.health import Check, Report


async def test_another_nats_server_on_our_port_is_recognised() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_name":"somebody-else"} \r\n')
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert "somebody-else" in (await nats_ready(port, "holdfast-1")()).cause
        assert await nats_ready(port, "somebody-else")() == Readiness(True)
    assert await nats_ready(port, "holdfast-1")() == Readiness(False)


def test_readiness_carries_cause_and_notes() -> None:
    def report(ok: bool, **checks: Check) -> bytes:
        return msgspec.json.encode(Report("sandbox", ok, False, 0.0, checks, {"limits": "weak"}))

    weak = {"limits": "weak"}
    assert readiness(200, report(True, bus=Check(True, 1.0))) == Readiness(True, "", weak)
    assert readiness(503, report(False, bus=Check(False, 1.0))) == Readiness(False, "", weak)
    hopeless = report(False, bus=Check(True, 1.0), sandbox=Check(False, 1.0, "no namespaces"))
    assert readiness(503, hopeless) == Readiness(False, "no namespaces", weak)
    assert readiness(200, b"{}") == Readiness(True)
    assert readiness(0, b"") == Readiness(False)
