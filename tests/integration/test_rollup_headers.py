"""Whoever may write one message of a stream cannot drop those of others with the header `Nats-Rollup`."""

from collections.abc import Iterator

import msgspec
import pytest
from nats.aio.client import Client

from tests.support.nats_users import provisioned, raw
from tests.support.servers import NatsServer

FORBIDDEN = [
    ("sandbox", "OBJ_blobs_a0", "$O.blobs.C.a0.default.{}.ref.0"),
    ("harness", "OBJ_blobs_a0", "$O.blobs.C.a0.default.{}.ref.0"),
    ("harness", "KV_parked", "$KV.parked.a0.default.{}.e.1"),
    ("harness", "KV_snap", "$KV.snap.a0.default.{}"),
    ("harness", "LOG_a0", "ev.a0.default.{}"),
    ("harness", "INBOX_a0", "in.a0.default.{}"),
    ("sandbox", "INBOX_a0", "res.a0.default.{}"),
    ("session", "KV_keys", "$KV.keys.default.{}"),
    ("session", "OBJ_files", "$O.files.C.default.{}.0"),
    ("session", "KV_files", "$KV.files.default.{}"),
    ("session", "KV_tasks", "$KV.tasks.t.default.{}"),
    ("publisher", "TASKS", "task.default.{}"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with provisioned(tmp_path_factory.mktemp("rollup")) as made:
        yield made


async def stored(admin: Client, stream: str) -> int:
    got = await admin.request(f"$JS.API.STREAM.INFO.{stream}", timeout=5)
    return msgspec.json.decode(got.data)["state"]["messages"]


@pytest.mark.parametrize("scope", ["all", "sub"])
@pytest.mark.parametrize(("user", "stream", "subject"), FORBIDDEN)
async def test_a_header_drops_no_message(server: NatsServer, user: str, stream: str, subject: str, scope: str) -> None:
    async with raw(server, user) as connection, raw(server, "admin") as admin:
        name = f"{user}{scope}"
        await connection.client.request(subject.format(f"{name}-other"), b"other", timeout=5)
        before = await stored(admin.client, stream)
        headers = {"Nats-Rollup": scope}
        got = await connection.client.request(subject.format(f"{name}-mine"), b"mine", headers=headers, timeout=5)
        assert msgspec.json.decode(got.data)["error"]["err_code"] == 10111
        assert await stored(admin.client, stream) == before
