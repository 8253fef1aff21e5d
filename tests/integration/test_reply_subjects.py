"""No answer of NATS reaches a subject on which the user that asked may not publish.

JetStream sends its answer to whatever reply subject a request names, past the permissions of the user. Each user that
is not in the account of the streams tries that here with everything it may ask, and everything it may not write.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from holdfast.bus.jetstream.accounts import User
from holdfast.bus.jetstream.permissions import accounts
from holdfast.bus.jetstream.provision import overlaps
from holdfast.bus.readers import parse_readers
from tests.support.nats_users import Raw, provision_cell, raw, with_passwords
from tests.support.servers import NatsServer

CELLS = ("a0", "a1")
READERS = "all:*:>,other:*:>"
ACCOUNTS = accounts(CELLS, parse_readers(READERS))
ASKING = [user for account in ACCOUNTS[1:] for user in account.users]
OWN = "sesn_a0_own"
"""A session of which every stream has a message."""

TARGETS = (
    "ev.a0.default.forged", "ev.a1.default.forged", "in.a0.default.forged", "in.a1.default.forged",
    "res.a0.default.forged", "pub.a0.default.forged.agent.message", "live.a0.default.forged",
    "arrived.in.a0.default.forged", "delta.a0.default.forged", "out.a0.default.forged", "kept.a0.default.forged",
    "$KV.keys.forged", "$KV.agents.forged", "$KV.tasks.forged", "$KV.bindings.forged", "$KV.snap.a0.default.forged",
    "$KV.parked.a0.default.forged.e.1", "$KV.hands.w.a0.forged", "$KV.hands.w.a1.forged", "$KV.hands.r.a0.forged",
    "kv.keys.forged", "kv.hands.w.a0.forged", "$O.blobs.C.a0.forged.0", "$O.blobs.C.a1.forged.0",
    "task.default.forged", "task.other.forged", "ask.default.forged", "again.default.forged", "dead.default.forged",
    "cmd.hand.a0.w.w1.exec", "cmd.hand.a0.release", "cmd.hand.a0.provision.sandbox", "cmd.hand.a1.w.w1.exec",
    "cmd.harness.a0.h1.ping", "cmd.harness.a0.h1.take", "vault.req.admin", "vault.req.key",
    "_INBOX_session.forged", "_INBOX_harness.forged", "_INBOX_sandbox.forged", "_INBOX_reader_other.forged",
    "_INBOX_vault.forged", "_INBOX_admin.forged",
    "$JS.API.STREAM.PURGE.TASKS", "$JS.API.STREAM.DELETE.LOG_a0", "$JS.API.CONSUMER.DELETE.INBOX_a0.harness",
    "$JS.API.CONSUMER.MSG.NEXT.PUB_a0.reader_other", "$JS.API.CONSUMER.MSG.NEXT.INBOX_a0.harness",
    "$JS.ACK.INBOX_a0.harness.1.1.1.1.0", "$JS.ACK.PUB_a0.reader_other.1.1.1.1.0", "$JS.ACK.TASKS.tasks.1.1.1.1.0",
)  # fmt: skip
"""Subjects that make a difference to somebody; some are refused by the server as such."""

STORED = (
    f"ev.a0.default.{OWN}", f"in.a0.default.{OWN}", f"$KV.keys.{OWN}", f"$KV.agents.{OWN}", f"$KV.tasks.{OWN}",
    f"$KV.bindings.{OWN}", f"again.default.{OWN}", f"dead.default.{OWN}", f"pub.a0.default.{OWN}.agent.message",
    f"$O.blobs.C.a0.default.{OWN}.ref.0", f"$KV.hands.r.a0.{OWN}",
)  # fmt: skip
"""What the session service stores before the attempts; and after them, so that what was sent before is in too."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    made = NatsServer(tmp_path_factory.mktemp("replies"), config=with_passwords(CELLS, READERS))
    made.start_now()
    try:
        for cell in CELLS:
            provision_cell(made, cell, HOLDFAST_PUBLIC_EVENTS_BYTES="20000000", HOLDFAST_READERS=READERS)
        asyncio.run(fill(made))
        yield made
    finally:
        made.kill()


async def fill(server: NatsServer) -> None:
    async with raw(server, "session") as session:
        for subject in STORED:
            await session.client.request(subject, b"stored", timeout=5)


def literal(pattern: str) -> str:
    """A subject that matches, of the session that has messages."""
    if pattern.startswith("$JS.ACK."):
        return pattern.replace(">", "1.1.1.1.0")
    if pattern.startswith("$JS.API.DIRECT.GET.OBJ"):
        return pattern.replace(">", f"$O.blobs.C.a0.default.{OWN}.ref.0")
    if pattern.startswith("$JS.API.DIRECT.GET.LOG"):
        return pattern.replace("LOG_a0.>", "LOG_a0.ev.a0.>").replace(">", f"default.{OWN}")
    return pattern.replace(">", f"default.{OWN}").replace("*", OWN)


def body(subject: str) -> bytes:
    """What makes the server answer a request on the subject."""
    if ".MSG.NEXT." in subject:
        return b'{"batch": 1, "no_wait": true}'
    if ".MSG.DELETE." in subject:
        return b'{"seq": 1000000}'
    if subject.startswith("$JS.ACK."):
        return b"+WPI"
    if ".GET." in subject and not subject.endswith(OWN) and not subject.endswith(".0"):
        return b'{"seq": 1}'
    return b"" if subject.startswith("$JS.") else b"forged"


def is_answered(subject: str) -> bool:
    """Whether NATS answers it by itself, and nobody else has to listen."""
    return not subject.startswith(("ask.", "cmd.", "delta.", "out.", "kept."))


def covered(subject: str, patterns: list[str]) -> bool:
    return any(overlaps(subject, pattern) for pattern in patterns)


async def answer(client: Client, subject: str) -> Msg:
    """The first answer. A message of a consumer arrives under the subject with which it was stored."""
    inbox = client.new_inbox()
    waiting = await client.subscribe(inbox)
    await client.publish(subject, body(subject), reply=inbox)
    got = await waiting.next_msg(5)
    await waiting.unsubscribe()
    return got


async def state(admin: Client) -> dict[tuple[str, str], int]:
    """How many messages each stream has of each subject."""
    names = msgspec.json.decode((await admin.request("$JS.API.STREAM.NAMES", timeout=5)).data)["streams"]
    found: dict[tuple[str, str], int] = {}
    for name in names:
        got = await admin.request(f"$JS.API.STREAM.INFO.{name}", b'{"subjects_filter": ">"}', timeout=5)
        subjects: dict[str, int] = msgspec.json.decode(got.data)["state"].get("subjects") or {}
        found |= {(name, subject): count for subject, count in subjects.items()}
    return found


def copies(stored: list[str]) -> set[str]:
    """The subjects under which the server repeats what was stored on these."""
    repeated = {f"live.{subject.partition('.')[2]}" for subject in stored if subject.startswith("ev.")}
    repeated |= {f"arrived.{subject}" for subject in stored if subject.startswith(("in.", "res."))}
    return repeated | {f"kv.{subject.removeprefix('$KV.')}" for subject in stored if subject.startswith("$KV.")}


@asynccontextmanager
async def everybody_listens(server: NatsServer, but: User) -> AsyncIterator[list[str]]:
    """Every other user subscribes to all that it may hear; the subjects that were heard."""
    heard: list[str] = []

    async def hear(message: Msg) -> None:
        heard.append(message.subject)

    async with AsyncExitStack() as stack:
        connections: list[Raw] = []
        for user in (user for account in ACCOUNTS for user in account.users if user.name != but.name):
            connections.append(await stack.enter_async_context(raw(server, user.name)))
            for pattern in (f"_INBOX_{user.name}.>", *user.subscribe):
                subject, _, queue = pattern.partition(" ")
                await connections[-1].client.subscribe(subject, queue=queue, cb=hear)
            await connections[-1].client.flush()
        yield heard
        for connection in connections:  # what the server had sent before its answer has arrived with it
            await connection.client.flush()


@pytest.mark.parametrize("user", ASKING, ids=[user.name for user in ASKING])
async def test_no_answer_goes_where_the_user_that_asked_may_not_publish(server: NatsServer, user: User) -> None:
    assert user.publish
    asked = [literal(pattern) for pattern in user.publish]
    answered = [subject for subject in asked if is_answered(subject)]
    targets = [target for target in TARGETS if not covered(target, [*user.publish, f"_INBOX_{user.name}.>"])]
    async with raw(server, "admin") as admin, raw(server, "session") as session, raw(server, user.name) as connection:
        before = await state(admin.client)
        async with everybody_listens(server, but=user) as heard:
            for subject in answered:  # the attempt proves nothing if there would be no answer
                await answer(connection.client, subject)
            for subject in asked:
                for target in targets:
                    await connection.client.publish(subject, body(subject), reply=target)
            for subject in answered:  # each is answered in turn: all answers are on their way
                await answer(connection.client, subject)
            for subject in STORED:
                await session.client.request(subject, b"stored", timeout=5)
        assert {subject.lower() for subject in targets if subject.startswith("$JS.ACK.")} < await connection.refused()
        after = await state(admin.client)
    stored = [subject for subject in (*asked, *STORED) if not subject.startswith("$JS.")]
    changed = {place for place in after if after[place] != before.get(place, 0)}
    assert {(stream, subject) for stream, subject in changed if subject not in stored} == set()
    assert before.keys() - after.keys() == set()
    own = {subject for subject in heard if subject.startswith(("_INBOX_admin.", "_INBOX_session."))} - set(TARGETS)
    assert set(heard) - copies(stored) - set(asked) - own == set()
