"""Readers of public events on a server with the permissions that the generator writes: per tenant and per type."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from holdfast.bus.ids import Key, new_session_id
from holdfast.bus.jetstream.permissions import permissions
from holdfast.bus.public_events import LogPlace, PublicEnd, PublicEvent
from holdfast.bus.readers import parse_readers
from tests.support.nats_users import as_user, provision_cell, raw, reload_now, with_passwords
from tests.support.servers import NatsServer

READERS = "messages:acme:agent.message,sessions:*:session.>+user.message,all:other:>"
EVENTS = [
    (tenant, type_)
    for tenant in ("acme", "other")
    for type_ in ("agent.message", "agent.tool_use", "session.status_idle", "user.message")
]
SEEN = {
    "reader_messages": [("acme", "agent.message")],
    "reader_sessions": [pair for pair in EVENTS if pair[1] in ("session.status_idle", "user.message")],
    "reader_all": [pair for pair in EVENTS if pair[0] == "other"],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    made = NatsServer(tmp_path_factory.mktemp("readers"), config=with_passwords(["a0"], READERS))
    made.start_now()
    try:
        provision_cell(made, "a0", HOLDFAST_PUBLIC_EVENTS_BYTES="20000000", HOLDFAST_READERS=READERS)
        asyncio.run(publish(made))
        yield made
    finally:
        made.kill()


async def publish(server: NatsServer) -> None:
    """One event of each tenant and type, with the rights of the session service."""
    async with as_user(server, "session") as bus:
        events = [
            PublicEvent(Key(tenant, new_session_id()), f"sevt_{number}", type_, 1, LogPlace(number + 1, 0), b"{}")
            for number, (tenant, type_) in enumerate(EVENTS)
        ]
        end = await bus.public.append(PublicEnd(0), events, epoch="e", publisher="p")
        assert await bus.public.end("a0") == end


async def fetch(connection: Client, consumer: str) -> list[tuple[str, str]]:
    """Fetch everything as any client of NATS does, and acknowledge it: tenant and type of each event."""
    context = connection.jetstream()
    pull = await context.pull_subscribe_bind(consumer, "PUB_a0")
    got = await pull.fetch(100, timeout=2)
    for one in got:
        await one.ack_sync()
    return [(one.subject.split(".")[2], one.headers["ce-type"]) for one in got if one.headers]


@pytest.mark.parametrize("user", SEEN)
async def test_a_reader_gets_the_events_of_its_filter_and_no_others(server: NatsServer, user: str) -> None:
    async with raw(server, user) as connection:
        assert await fetch(connection.client, user) == SEEN[user]
        assert await connection.refused() == {"refused.to.everyone"}
        info = await connection.client.jetstream().consumer_info("PUB_a0", user)
        assert info.num_pending == 0
        assert info.num_ack_pending == 0


@pytest.mark.parametrize("user", SEEN)
async def test_a_reader_may_do_nothing_else(server: NatsServer, user: str) -> None:
    others = [name for name in SEEN if name != user]
    tried = [
        *(f"$JS.API.CONSUMER.MSG.NEXT.PUB_a0.{name}" for name in (*others, "mine")),
        *(f"$JS.API.CONSUMER.INFO.PUB_a0.{name}" for name in others),
        *(f"$JS.ACK.PUB_a0.{name}.1.1.1.1.1" for name in others),
        f"$JS.API.CONSUMER.CREATE.PUB_a0.{user}",
        "$JS.API.CONSUMER.CREATE.PUB_a0.mine.pub.a0.acme.>",
        f"$JS.API.CONSUMER.DURABLE.CREATE.PUB_a0.{user}",
        f"$JS.API.CONSUMER.DELETE.PUB_a0.{user}",
        "$JS.API.CONSUMER.NAMES.PUB_a0", "$JS.API.STREAM.INFO.PUB_a0", "$JS.API.STREAM.NAMES",
        "$JS.API.DIRECT.GET.PUB_a0", "$JS.API.DIRECT.GET.PUB_a0.pub.a0.acme.x.agent.message",
        "$JS.API.STREAM.MSG.GET.PUB_a0", "$JS.API.STREAM.MSG.DELETE.PUB_a0", "$JS.API.STREAM.PURGE.PUB_a0",
        "$JS.API.DIRECT.GET.LOG_a0", "pub.a0.acme.sesn_a0_x.agent.message", "in.a0.acme.sesn_a0_x",
        "ev.a0.acme.sesn_a0_x", "vault.req.admin", "$KV.keys.x",
    ]  # fmt: skip
    async with raw(server, user) as connection:
        for subject in tried:
            await connection.client.publish(subject, b"{")
        refused = await connection.refused()
    assert [subject for subject in tried if subject.lower() not in refused] == []
    for subject in ("pub.>", "pub.a0.acme.>", "live.a0.>", "ev.a0.>", "_INBOX.>", f"_INBOX_{others[0]}.>", ">"):
        async with raw(server, user) as connection:
            await connection.client.subscribe(subject)
            assert subject.lower() in await connection.refused()


async def test_a_reader_that_is_added_later_gets_what_was_published_before(server: NatsServer) -> None:
    more = f"{READERS},late:acme:>"
    reload_now(server, with_passwords(["a0"], more))
    provision_cell(server, "a0", HOLDFAST_READERS=more)
    async with raw(server, "reader_late") as connection:
        assert await fetch(connection.client, "reader_late") == [pair for pair in EVENTS if pair[0] == "acme"]


async def test_the_filter_of_a_reader_can_be_changed_and_it_gets_nothing_twice(server: NatsServer) -> None:
    provision_cell(server, "a0", HOLDFAST_READERS="messages:acme:agent.message+agent.tool_use")
    async with raw(server, "reader_messages") as connection:
        with pytest.raises(TimeoutError):  # of nats-py, or of asyncio if the server is slow to say so
            await fetch(connection.client, "reader_messages")


def test_readers_without_a_stream_are_refused(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats", config=with_passwords(["a0"], READERS))
    server.start_now()
    try:
        with pytest.raises(subprocess.CalledProcessError) as caught:
            provision_cell(server, "a0", HOLDFAST_READERS=READERS)
        assert b"set HOLDFAST_PUBLIC_EVENTS_BYTES" in caught.value.stderr
    finally:
        server.kill()


def test_the_generator_names_how_it_was_called() -> None:
    command = [sys.executable, "-m", "holdfast.bus.jetstream.permissions", "a0", "--reader", "all:*:>"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == permissions(["a0"], parse_readers("all:*:>"))
    assert "--reader 'all:*:>'" in done.stdout
    wrong = subprocess.run([*command[:-1], "All:*:>"], check=False, capture_output=True, text=True, timeout=60)
    assert wrong.returncode == 2
    assert "the name of a reader" in wrong.stderr
