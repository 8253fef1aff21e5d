"""Streams of another protocol: provisioning and connecting refuse them with the way out, and change nothing."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest

from holdfast.bus import streams
from holdfast.bus.errors import OtherProtocol
from holdfast.bus.ids import FIRST_CELL
from holdfast.bus.jetstream.client import connect
from holdfast.bus.jetstream.protocol import check_protocol, protocol_of
from holdfast.bus.jetstream.provision import provision
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.process.settings import BadSettings, ProcessSettings
from tests.support.servers import NatsServer, nats_server


def first_protocol() -> list[dict[str, Any]]:
    """The streams as protocol 1 made them: none names a protocol, and no subject a cell."""
    configs = [{k: v for k, v in config.items() if k != "metadata"} for config in streams.stream_configs()]
    old = {
        streams.log_stream(): {"subjects": ["ev.>"], "republish": {"src": "ev.>", "dest": "live.>"}},
        streams.inbox_stream(): {"subjects": ["in.>"], "republish": {"src": "in.>", "dest": "arrived.>"}},
    }
    return [{**config, **old.get(config["name"], {})} for config in configs]


async def made(admin: JetStreamClient, configs: list[dict[str, Any]]) -> None:
    for config in configs:
        answer = await admin.api(f"STREAM.CREATE.{config['name']}", config)
        assert "error" not in answer, answer


async def kept(admin: JetStreamClient) -> list[Any]:
    listed = await admin.api("STREAM.LIST", {})
    return sorted((stream["config"]["name"], stream["config"], stream["state"]) for stream in listed["streams"])


async def test_streams_of_the_first_protocol_are_refused_and_unchanged(tmp_path: Path) -> None:
    async with nats_server(tmp_path / "nats", provisioned=False) as server:
        admin = JetStreamClient()
        await admin.open([server.url], name="admin", login=None)
        await made(admin, first_protocol())
        await admin.ask("ev.default.sesn_a0_x", b"{}")
        before = await kept(admin)
        with pytest.raises(OtherProtocol, match=r"holds protocol 1.*Nothing was changed.*holdfast tail SESSION"):
            await provision(admin, FIRST_CELL)
        with pytest.raises(OtherProtocol, match="Nothing was changed"):
            await provision(admin, "a1")  # a cell of its own, but the buckets are shared
        with pytest.raises(BadSettings, match=f"speaks protocol {streams.PROTOCOL}"):
            await connect(ProcessSettings(nats_url=server.url), name="service")
        with pytest.raises(subprocess.CalledProcessError) as refused:
            await asyncio.to_thread(server.provision)
        assert b"holds protocol 1" in refused.value.stderr
        assert await kept(admin) == before
        vault = await connect(ProcessSettings(nats_url=server.url), name="vault", uses_streams=False)
        await vault.close()
        await admin.close()


async def test_streams_of_a_newer_protocol_name_the_newer_version(tmp_path: Path) -> None:
    async with nats_server(tmp_path / "nats", provisioned=False) as server:
        admin = JetStreamClient()
        await admin.open([server.url], name="admin", login=None)
        newer = {streams.PROTOCOL_METADATA: str(streams.PROTOCOL + 1)}
        await made(admin, [{**config, "metadata": newer} for config in streams.stream_configs()])
        with pytest.raises(OtherProtocol, match="made by a newer version: install that one"):
            await provision(admin, FIRST_CELL)
        await admin.close()


async def test_our_own_streams_name_the_protocol_and_a_server_without_streams_is_no_fault(tmp_path: Path) -> None:
    async with nats_server(tmp_path / "nats", provisioned=False) as server:
        admin = JetStreamClient()
        await admin.open([server.url], name="admin", login=None)
        await check_protocol(admin, FIRST_CELL)
        await provision(admin, FIRST_CELL)
        await check_protocol(admin, FIRST_CELL)
        found = {protocol_of(config) for _, config, _ in await kept(admin)}
        assert found == {str(streams.PROTOCOL)}
        await admin.close()


async def test_a_service_does_not_start_on_another_protocol(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    await server.start()
    try:
        admin = JetStreamClient()
        await admin.open([server.url], name="admin", login=None)
        await made(admin, first_protocol())
        await admin.close()
        for service in ("session", "harness", "sandbox"):
            code, told = await asyncio.to_thread(server.run_service, service)
            assert code == 2, told
            assert "holds protocol 1" in told
            assert "Traceback" not in told
    finally:
        server.kill()
