"""What is made and revoked, what is recorded of it, and what is refused."""

import pytest

from holdfast.bus.errors import Conflict, StorageFull
from holdfast.bus.streams import AUDIT
from holdfast.session.api_keys.schema import ApiKeyCreate
from holdfast.session.api_keys.store import ApiKeyStore
from holdfast.session.audit.log import AuditLog
from holdfast.session.http.caller import Caller
from holdfast.session.http.errors import ApiError
from holdfast.session.http.key_record import BUCKET, KeyRecord
from holdfast.testing.memory.kv import MemoryKeyValue
from holdfast.testing.memory.link import MemoryLink
from holdfast.testing.memory.server import MemoryServer

OPERATOR = Caller(tenant="default", role="admin", key_id="apikey_0", key_name="first")


class FullAudit(MemoryKeyValue):
    """The buckets in memory; that of the audit takes no more records while `is_full`."""

    is_full = False

    async def create(self, bucket: str, key: str, value: bytes, *, ttl: float = 0.0) -> int:
        if bucket == AUDIT and self.is_full:
            raise StorageFull("the stream refused")
        return await super().create(bucket, key, value, ttl=ttl)


class Overtaken(FullAudit):
    """The buckets in memory; another writer changes a key's record just before each of the next `times` updates."""

    times = 0

    async def update(self, bucket: str, key: str, value: bytes, revision: int, *, ttl: float = 0.0) -> int:
        if self.times:
            self.times -= 1
            entry = await self.get(bucket, key)
            assert entry
            await super().update(bucket, key, entry.value or b"", entry.revision)
        return await super().update(bucket, key, value, revision, ttl=ttl)


def made_on(kv: MemoryKeyValue) -> tuple[ApiKeyStore, AuditLog]:
    audit = AuditLog(kv, lambda: 5)
    return ApiKeyStore(kv, audit, lambda: 7), audit


@pytest.fixture
def kv() -> Overtaken:
    return Overtaken(MemoryLink(MemoryServer(), "edge"))


def every_key(_record: KeyRecord) -> bool:
    return True


async def test_without_its_record_nothing_is_done(kv: FullAudit) -> None:
    store, audit = made_on(kv)
    record, _ = await store.create(ApiKeyCreate(name="n", role="tenant"), OPERATOR, "req_1")
    kv.is_full = True
    before = await kv.list(BUCKET)
    with pytest.raises(StorageFull):
        await store.create(ApiKeyCreate(name="m", role="tenant"), OPERATOR, "req_2")
    with pytest.raises(StorageFull):
        await store.revoke(record.id, OPERATOR, "req_3")
    assert await kv.list(BUCKET) == before
    assert [entry.request_id for entry in (await audit.newest(below=None, limit=10))[0]] == ["req_1"]


async def test_the_last_admin_key_is_not_revoked(kv: Overtaken) -> None:
    store, audit = made_on(kv)
    first, _ = await store.create(ApiKeyCreate(name="first", role="admin"), OPERATOR, "req_1")
    await store.create(ApiKeyCreate(name="other", role="tenant"), OPERATOR, "req_2")
    with pytest.raises(ApiError, match="last admin key") as refused:
        await store.revoke(first.id, OPERATOR, "req_3")
    assert (refused.value.status, refused.value.details) == (409, {"error_code": "last_admin_key"})
    assert len((await audit.newest(below=None, limit=10))[0]) == 2, "what is refused is no act"
    second, _ = await store.create(ApiKeyCreate(name="second", role="admin"), OPERATOR, "req_4")
    assert (await store.revoke(first.id, OPERATOR, "req_5")).revoked_at == 7
    with pytest.raises(ApiError, match="last admin key"):
        await store.revoke(second.id, OPERATOR, "req_6")


async def test_a_revocation_that_is_overtaken_begins_again_and_is_recorded_once(kv: Overtaken) -> None:
    store, audit = made_on(kv)
    record, _ = await store.create(ApiKeyCreate(name="n", role="read_only", tenant="acme"), OPERATOR, "req_1")
    kv.times = 3
    assert (await store.revoke(record.id, OPERATOR, "req_2")).revoked_at == 7
    acts, rest = await audit.newest(below=None, limit=10)
    assert [(act.action, act.object, act.key_id) for act in acts] == [
        ("api_key.revoke", record.id, "apikey_0"),
        ("api_key.create", record.id, "apikey_0"),
    ]
    assert rest is None


async def test_one_damaged_record_hides_no_other(kv: Overtaken) -> None:
    store, audit = made_on(kv)
    record, _ = await store.create(ApiKeyCreate(name="n", role="tenant"), OPERATOR, "req_1")
    await kv.create(BUCKET, "damaged", b"\xff")
    await kv.create(AUDIT, "audit_0", b"\xff")
    found, _ = await store.newest(below=None, limit=10, keep=every_key)
    assert [one.id for one in found] == [record.id]
    assert [act.object for act in (await audit.newest(below=None, limit=10))[0]] == [record.id]
    assert (await store.revoke(record.id, OPERATOR, "req_2")).revoked_at == 7
    with pytest.raises(Conflict):
        await kv.create(AUDIT, "audit_0", b"{}")


async def test_the_audit_has_pages(kv: Overtaken) -> None:
    store, audit = made_on(kv)
    for number in range(5):
        await store.create(ApiKeyCreate(name=str(number), role="tenant"), OPERATOR, f"req_{number}")
    seen: list[str] = []
    below: str | None = None
    while True:
        acts, below = await audit.newest(below=below, limit=2)
        seen += [act.request_id for act in acts]
        if below is None:
            break
    assert seen == [f"req_{number}" for number in (4, 3, 2, 1, 0)]
