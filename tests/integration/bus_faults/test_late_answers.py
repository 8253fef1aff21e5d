"""What arrives too late, or while the bus is away, is no fault: no permission error, no traceback."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from holdfast.bus import subjects
from holdfast.bus.api import Delivery
from holdfast.bus.errors import NoResponders, Unavailable
from holdfast.bus.ids import Key
from holdfast.bus.jetstream.client import NatsBus
from holdfast.testing.contracts.helpers import client_input, consuming
from tests.support.eventually import eventually
from tests.support.nats_users import as_user, provisioned


async def test_an_answer_is_dropped_when_the_connection_of_its_request_is_gone(tmp_path: Path) -> None:
    asked, go_on, handled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(data: bytes) -> bytes:
        if data == b"late":
            asked.set()
            await go_on.wait()
            handled.set()
        return b"answer"

    with provisioned(tmp_path / "nats") as server, capture_logs() as lines:
        async with as_user(server, "vault") as vault, as_user(server, "session") as session:
            serving = await vault.core.serve(subjects.VAULT_ADMIN, handler, queue="vault")
            request = asyncio.create_task(session.core.request(subjects.VAULT_ADMIN, b"late", timeout=30))
            await asyncio.wait_for(asked.wait(), 10)
            server.kill()
            assert isinstance((await asyncio.wait({request}))[0].pop().exception(), Unavailable)
            await server.start()

            async def back() -> bool:
                return vault.connected and session.connected and await vault.answers()

            await eventually(back, within=20, what="the connections are back")
            go_on.set()
            await asyncio.wait_for(handled.wait(), 10)
            await serving.close()
            assert await vault.answers(), "everything sent before has reached the server"
    assert [line["event"] for line in lines if "permission" in str(line).lower()] == []
    assert [line["subject"] for line in lines if line["event"] == "bus.not_answered"] == [subjects.VAULT_ADMIN]


async def test_a_request_after_the_reconnection_is_answered(tmp_path: Path) -> None:
    async def handler(data: bytes) -> bytes:
        return data

    with provisioned(tmp_path / "nats") as server:
        async with as_user(server, "vault") as vault, as_user(server, "session") as session:
            await vault.core.serve(subjects.VAULT_ADMIN, handler, queue="vault")
            server.kill()
            await server.start()

            async def answered() -> bool:
                try:
                    return await session.core.request(subjects.VAULT_ADMIN, b"again", timeout=2) == b"again"
                except Unavailable:
                    return False

            await eventually(answered, within=20, what="an answer on the new connection")


async def test_a_listener_that_is_not_back_yet_does_not_count_as_gone(tmp_path: Path) -> None:
    """A worker that reconnects after a harness would lose its sandboxes (rule 15: no responders)."""
    with provisioned(tmp_path / "nats") as server:
        async with as_user(server, "session") as session:
            with pytest.raises(NoResponders):
                await session.core.request(subjects.VAULT_ADMIN, b"", timeout=2)
            server.kill()
            await server.start()
            causes: list[str] = []

            async def gone() -> bool:
                try:
                    await session.core.request(subjects.VAULT_ADMIN, b"", timeout=2)
                except Unavailable as exc:
                    causes.append(str(exc))
                except NoResponders:
                    return True
                return False

            await eventually(gone, within=20, what="the connection has stood for a while")
    assert [cause for cause in causes if "nobody listens" in cause]


async def test_a_delivery_that_meets_an_unavailable_bus_leaves_a_line_and_comes_again(bus: NatsBus, key: Key) -> None:
    counts: list[int] = []
    done = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        counts.append(delivery.count)
        if delivery.count == 1:
            raise Unavailable("no connection to NATS")
        await delivery.ack()
        done.set()

    with capture_logs() as lines:
        async with consuming(bus, handle):
            await bus.inbox.put(key, client_input())
            await asyncio.wait_for(done.wait(), 20)
    assert counts == [1, 2]
    told = [line for line in lines if line.get("session") == key.session]
    assert [(line["event"], line["log_level"], line["cause"]) for line in told] == [
        ("consume.left_to_redelivery", "warning", "no connection to NATS")
    ]
    assert "exc_info" not in told[0]
