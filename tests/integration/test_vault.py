"""The vault service over the bus, with a real OpenBao behind it."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest
from anthropic.types.beta import BetaManagedAgentsDeletedVault, BetaManagedAgentsVault
from anthropic.types.beta.vaults import BetaManagedAgentsCredential, BetaManagedAgentsDeletedCredential
from nacl.public import PrivateKey, SealedBox

from holdfast.bus import subjects
from holdfast.bus.commands import SignRequest, VaultReply, VaultRequest
from holdfast.process import clock
from holdfast.process.settings import BadSettings
from holdfast.session.webhooks.secrets import new_secret
from holdfast.vault import paths
from holdfast.vault.errors import StoreUnavailable
from holdfast.vault.settings import VaultSettings
from holdfast.vault.store import Store
from tests.support.bao import BaoServer, VaultStack, vault_stack
from tests.support.eventually import eventually
from tests.support.vault_admin import CANARY, Admin


def bearer(n: int = 0, token: str = CANARY) -> dict[str, Any]:
    return {"type": "static_bearer", "mcp_server_url": f"https://mcp{n}.example.com/mcp", "token": token}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One stack for the tests that do no harm to it, on a loop of its own."""
    with asyncio.Runner() as runner:
        context = vault_stack(tmp_path_factory.mktemp("vault"))
        stack = runner.run(context.__aenter__())
        yield stack
        runner.run(context.__aexit__(None, None, None))


@pytest.fixture
async def admin(running: VaultStack) -> AsyncIterator[Admin]:
    async with running.bus() as bus:
        yield Admin(bus)


@contextlib.asynccontextmanager
async def store_of(stack: VaultStack) -> AsyncIterator[Store]:
    """The store, with the identity of the service."""
    environ = stack.bao.environ()
    store = Store(
        VaultSettings(
            vault_url=environ["HOLDFAST_VAULT_URL"],
            vault_ca_file=environ["HOLDFAST_VAULT_CA_FILE"],
            vault_role_id=environ["HOLDFAST_VAULT_ROLE_ID"],
            vault_secret_id_file=environ["HOLDFAST_VAULT_SECRET_ID_FILE"],
        )
    )
    try:
        yield store
    finally:
        await store.close()


async def secret_of(stack: VaultStack, vault: str, credential: str, tenant: str = "default") -> str | None:
    """What the store holds, read with the identity of the service."""
    async with store_of(stack) as store:
        found = await store.get(f"tenants/{tenant}/secrets/{vault}/{credential}")
        return found.text if found else None


async def test_a_vault_goes_round(admin: Admin) -> None:
    made = await admin.ok("vaults.create", display_name="for Anna", metadata={"user": "anna"})
    vault = BetaManagedAgentsVault.model_validate(made, strict=False)
    assert vault.id.startswith("vlt_")
    assert vault.archived_at is None
    assert await admin.ok("vaults.retrieve", vault.id) == made
    changed = await admin.ok("vaults.update", vault.id, metadata={"user": None, "team": "x"})
    assert changed["metadata"] == {"team": "x"}
    assert changed["display_name"] == "for Anna"
    assert changed["updated_at"] > made["updated_at"]
    archived = await admin.ok("vaults.archive", vault.id)
    assert archived["archived_at"]
    assert (await admin.ok("vaults.archive", vault.id))["archived_at"] == archived["archived_at"]
    gone = await admin.ok("vaults.delete", vault.id)
    assert BetaManagedAgentsDeletedVault.model_validate(gone).id == vault.id
    assert (await admin.reply("vaults.retrieve", vault.id)).status == 404
    assert (await admin.reply("vaults.delete", vault.id)).status == 404


async def test_signing_secrets_come_back_sealed_to_the_one_who_asks(running: VaultStack, admin: Admin) -> None:
    private = PrivateKey.generate()
    public = base64.b64encode(bytes(private.public_key)).decode()
    kept = (await admin.ok("signing.keep", auth=[CANARY], kind="review"))["id"]
    found = await admin.ok("signing.open", kind="review", id=kept, public_key=public)
    assert json.loads(SealedBox(private).decrypt(base64.b64decode(found["sealed"]))) == [CANARY]
    other = await admin.ok("signing.keep", auth=[CANARY, "second"], kind="review", in_use=kept)
    assert other["id"] != kept
    await admin.ok("signing.open", kind="review", id=kept, public_key=public)
    stranger = Admin(admin.bus, tenant="other")
    for reply, status in (
        (await stranger.reply("signing.open", kind="review", id=kept, public_key=public), 404),
        (await admin.reply("signing.open", kind="review", id="../x", public_key=public), 404),
        (await admin.reply("signing.open", kind="another", id=kept, public_key=public), 404),
        (await admin.reply("signing.open", kind="review", id=kept, public_key="AAAA"), 400),
        (await admin.reply("signing.open", kind="review", id=kept), 400),
        (await admin.reply("signing.keep", kind="review"), 400),
        (await admin.reply("signing.keep", auth=[], kind="review"), 400),
        (await admin.reply("signing.keep", auth=["x"] * 5, kind="review"), 400),
        (await admin.reply("signing.keep", auth={"a": CANARY}, kind="review"), 400),
    ):
        assert reply.status == status, reply
    for secrets_id in (kept, kept, other["id"]):
        await admin.ok("signing.remove", kind="review", id=secrets_id)
    assert (await admin.reply("signing.open", kind="review", id=kept, public_key=public)).status == 404
    async with store_of(running) as store:
        assert await store.names("tenants/default/signing/review") == []


class Hooks:
    """What the edge asks for about the secret of one webhook."""

    def __init__(self, admin: Admin, webhook: str) -> None:
        self.admin = admin
        self.webhook = webhook

    async def ask(self, verb: str, secret: str = "", tenant: str = "default", **body: Any) -> VaultReply:
        sealed = await self.admin.sealed({"secret": secret}) if secret else b""
        request = VaultRequest(tenant=tenant, verb=f"webhooks.{verb}", webhook=self.webhook, body=body, sealed=sealed)
        return await self._reply(subjects.VAULT_ADMIN, request)

    async def signatures(self, tenant: str = "default") -> list[str]:
        request = SignRequest(tenant=tenant, webhook=self.webhook, content=b"content")
        reply = await self._reply(subjects.VAULT_SIGN, request)
        assert reply.status == 200, reply
        return reply.body["signature"].split(" ")

    async def _reply(self, subject: str, request: msgspec.Struct) -> VaultReply:
        data = await self.admin.bus.core.request(subject, msgspec.json.encode(request), timeout=15)
        return msgspec.json.decode(data, type=VaultReply)


async def test_a_secret_of_a_webhook_that_was_replaced_signs_for_its_time_and_is_then_removed(
    running: VaultStack, admin: Admin
) -> None:
    old, new = new_secret(), new_secret()
    hooks = Hooks(admin, "whk_1")
    for reply, status in (
        (await hooks.ask("rotate", new, overlap_s=60), 404),
        (await hooks.ask("put", old), 200),
        (await hooks.ask("rotate", "whsec_short", overlap_s=60), 400),
        (await hooks.ask("rotate", overlap_s=60), 400),
        (await hooks.ask("rotate", new), 400),
        (await hooks.ask("rotate", new, overlap_s=7 * 24 * 3600 + 1), 400),
        (await hooks.ask("rotate", new, tenant="other", overlap_s=60), 404),
    ):
        assert reply.status == status, reply
    (before,) = await hooks.signatures()
    assert (await hooks.ask("rotate", new, overlap_s=2)).body["earlier_until"] > clock.now()
    both = await hooks.signatures()
    assert (len(both), both[1]) == (2, before)

    async def ended() -> bool:
        return await hooks.signatures() == both[:1]

    await eventually(ended, what="the end of the old secret", within=10)
    async with store_of(running) as store:
        found = await store.get(paths.webhook("default", "whk_1"))
        assert found
        assert old not in found.text
        assert new in found.text
    await hooks.ask("delete")
    assert (await hooks.ask("rotate", new, overlap_s=60)).status == 404


async def test_of_secrets_that_are_replaced_at_once_none_is_lost(admin: Admin) -> None:
    secrets = [new_secret() for _ in range(4)]
    hooks = Hooks(admin, "whk_2")
    await hooks.ask("put", new_secret())
    replies = await asyncio.gather(*(hooks.ask("rotate", secret, overlap_s=60) for secret in secrets))
    done = [reply.status for reply in replies]
    assert set(done) <= {200, 503}
    assert len(await hooks.signatures()) == 1 + done.count(200) > 1


async def test_a_credential_goes_round_and_its_secret_never_comes_back(running: VaultStack, admin: Admin) -> None:
    vault = (await admin.ok("vaults.create", display_name="v"))["id"]
    made = await admin.ok("credentials.create", vault, auth=bearer(), display_name="linear", metadata={"a": "b"})
    credential = BetaManagedAgentsCredential.model_validate(made, strict=False)
    assert credential.id.startswith("vcrd_")
    assert made["auth"] == {"type": "static_bearer", "mcp_server_url": "https://mcp0.example.com/mcp"}
    assert json.loads(await secret_of(running, vault, credential.id) or "") == {"token": CANARY}
    assert await admin.ok("credentials.retrieve", vault, credential.id) == made

    rotated = {"type": "static_bearer", "token": CANARY + "-2"}
    changed = await admin.ok("credentials.update", vault, credential.id, auth=rotated, display_name="l2")
    assert (changed["display_name"], changed["auth"]) == ("l2", made["auth"])
    assert CANARY + "-2" in (await secret_of(running, vault, credential.id) or "")
    moved = {"type": "static_bearer", "mcp_server_url": "https://elsewhere.example"}
    assert (await admin.reply("credentials.update", vault, credential.id, auth=moved)).status == 400

    archived = await admin.ok("credentials.archive", vault, credential.id)
    assert archived["archived_at"]
    assert await secret_of(running, vault, credential.id) is None
    assert (await admin.reply("credentials.update", vault, credential.id, auth=rotated)).status == 400
    assert await secret_of(running, vault, credential.id) is None
    again = await admin.ok("credentials.create", vault, auth=bearer())  # the key is free again
    assert [c["id"] for c in (await admin.ok("credentials.list", vault))["data"]] == [again["id"]]
    both = await admin.ok("credentials.list", vault, include_archived=True)
    assert [c["id"] for c in both["data"]] == [again["id"], credential.id]
    gone = await admin.ok("credentials.delete", vault, again["id"])
    assert BetaManagedAgentsDeletedCredential.model_validate(gone).id == again["id"]
    assert await secret_of(running, vault, again["id"]) is None
    assert (await admin.reply("credentials.retrieve", vault, again["id"])).status == 404


async def test_of_many_at_once_for_one_server_exactly_one_is_made(running: VaultStack, admin: Admin) -> None:
    vault = (await admin.ok("vaults.create", display_name="v"))["id"]
    spellings = ["https://MCP.example.com/mcp", "https://mcp.example.com:443/mcp/", "https://mcp.example.com/mcp"] * 3
    replies = await asyncio.gather(
        *(admin.reply("credentials.create", vault, auth={**bearer(), "mcp_server_url": url}) for url in spellings)
    )
    assert sorted(r.status for r in replies) == [200] + [409] * 8
    made = next(r.body for r in replies if r.status == 200)
    refused = next(r for r in replies if r.status == 409)
    assert made["id"] in refused.message
    assert refused.error == "invalid_request_error"
    assert [c["id"] for c in (await admin.ok("credentials.list", vault, include_archived=True))["data"]] == [made["id"]]
    assert await admin.ok("vaults.delete", vault)
    assert await secret_of(running, vault, made["id"]) is None


async def test_a_vault_holds_at_most_twenty_also_when_many_come_at_once(admin: Admin) -> None:
    vault = (await admin.ok("vaults.create", display_name="v"))["id"]
    for n in range(16):
        await admin.ok("credentials.create", vault, auth=bearer(n))
    replies = await asyncio.gather(*(admin.reply("credentials.create", vault, auth=bearer(20 + n)) for n in range(8)))
    assert sorted(r.status for r in replies) == [200] * 4 + [400] * 4
    page = await admin.ok("credentials.list", vault, limit=12)
    rest = await admin.ok("credentials.list", vault, limit=12, after=page["next"])
    ids = [c["id"] for c in page["data"] + rest["data"]]
    assert len(set(ids)) == 20
    assert ids == sorted(ids, reverse=True)
    assert rest["next"] is None


async def test_archiving_a_vault_purges_its_credentials(running: VaultStack, admin: Admin) -> None:
    vault = (await admin.ok("vaults.create", display_name="v"))["id"]
    made = [(await admin.ok("credentials.create", vault, auth=bearer(n)))["id"] for n in range(3)]
    await admin.ok("vaults.archive", vault)
    for credential in made:
        assert await secret_of(running, vault, credential) is None
        assert (await admin.ok("credentials.retrieve", vault, credential))["archived_at"]
    refused = await admin.reply("credentials.create", vault, auth=bearer(9))
    assert (refused.status, refused.error) == (400, "invalid_request_error")
    listed = await admin.ok("vaults.list", limit=100)
    assert vault not in [v["id"] for v in listed["data"]]
    assert vault in [v["id"] for v in (await admin.ok("vaults.list", limit=100, include_archived=True))["data"]]


async def test_tenants_do_not_see_each_other(running: VaultStack, admin: Admin) -> None:
    vault = (await admin.ok("vaults.create", display_name="v"))["id"]
    credential = (await admin.ok("credentials.create", vault, auth=bearer()))["id"]
    other = Admin(admin.bus, "other")
    for verb in ("vaults.retrieve", "vaults.archive", "vaults.delete", "credentials.list"):
        assert (await other.reply(verb, vault)).status == 404
    assert (await other.reply("credentials.create", vault, auth=bearer())).status == 404
    assert (await other.reply("credentials.delete", vault, credential)).status == 404
    assert (await other.ok("vaults.list"))["data"] == []
    assert await secret_of(running, vault, credential)
    assert (await admin.reply("credentials.retrieve", vault, "vcrd_nothing")).status == 404


@pytest.mark.parametrize("name", ["../default", "default/vaults", "*", "+", "{{x}}", "", "a b", "%2e%2e"])
async def test_no_name_leaves_its_place(admin: Admin, name: str) -> None:
    bad = Admin(admin.bus, name)
    assert (await bad.reply("vaults.create", display_name="x")).status == 404
    assert (await admin.reply("vaults.retrieve", name)).status == 404
    vault = (await admin.ok("vaults.create", display_name="v"))["id"]
    assert (await admin.reply("credentials.retrieve", vault, name)).status == 404


async def test_bad_requests_are_answered_and_repeat_nothing(admin: Admin) -> None:
    vault = (await admin.ok("vaults.create", display_name="v"))["id"]
    assert (await admin.reply("vaults.create")).status == 400
    assert (await admin.reply("nothing.known", vault)).status == 400
    assert (await admin.reply("credentials.create", vault)).status == 400
    assert (await admin.reply("credentials.create", vault, auth=[CANARY])).status == 400
    assert (await admin.reply("credentials.create", vault, auth={"type": CANARY})).status == 400
    assert (await admin.reply("credentials.create", vault, auth={**bearer(), CANARY: 1})).status == 400
    data = await admin.bus.core.request(subjects.VAULT_ADMIN, b"\x00{", timeout=10)
    assert msgspec.json.decode(data, type=VaultReply).status == 400
    forged = VaultRequest(tenant="default", verb="credentials.create", vault=vault, sealed=b"x" * 80)
    data = await admin.bus.core.request(subjects.VAULT_ADMIN, msgspec.json.encode(forged), timeout=10)
    assert msgspec.json.decode(data, type=VaultReply).status == 400


async def test_it_is_unavailable_without_the_store_and_recovers(tmp_path: Path) -> None:
    async with vault_stack(tmp_path) as stack, stack.bus() as bus:
        admin = Admin(bus)
        vault = (await admin.ok("vaults.create", display_name="v"))["id"]
        credential = (await admin.ok("credentials.create", vault, auth=bearer()))["id"]
        stack.bao.kill()
        refused = await admin.reply("vaults.retrieve", vault)
        assert (refused.status, refused.error) == (503, "api_error")
        await stack.wait_for_readiness(503)
        await stack.bao.start()
        await stack.wait_for_readiness(200)
        assert (await admin.ok("credentials.retrieve", vault, credential))["id"] == credential
        assert CANARY in (await secret_of(stack, vault, credential) or "")

        # The service itself starts anew: its key is the same, what was sealed before can still be opened.
        assert stack.stop() == 0
        stack.start()
        await stack.wait_for_readiness(200)
        await admin.ok("credentials.create", vault, auth=bearer(2))

        everything = [stack.nats.store, stack.bao.layout.logs, stack.log, stack.bao.layout.bao]
        for place in everything:
            for file in [place] if place.is_file() else place.rglob("*"):
                if file.is_file():
                    assert CANARY.encode() not in file.read_bytes(), file
        assert stack.bao.audit_log.stat().st_size > 0


async def test_a_sealed_store_is_unavailable(tmp_path: Path) -> None:
    async with vault_stack(tmp_path) as stack, stack.bus() as bus:
        seal_key = stack.bao.layout.secrets / "bao-seal.key"
        kept = seal_key.read_bytes()
        seal_key.unlink()
        stack.bao.kill()
        stack.bao.spawn()
        assert (await Admin(bus).reply("vaults.list")).status == 503
        stack.bao.kill()
        seal_key.write_bytes(kept)
        await stack.bao.start()
        await stack.wait_for_readiness(200)


async def test_a_redirect_is_not_followed_and_the_token_stays(tmp_path: Path) -> None:
    seen: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        """Takes every method; `answer` says how."""

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline()
            if self.raw_requestline and self.parse_request():
                self.rfile.read(int(self.headers.get("content-length") or 0))
                self.answer()
            self.close_connection = True

        def answer(self) -> None:
            seen.append(f"{self.command} {self.path} {self.headers}")
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name in the base class
            pass

    class Redirecting(Elsewhere):
        """Gives a token to whoever logs in, and sends everything else elsewhere."""

        def answer(self) -> None:
            login = "login" in self.path
            body = b'{"auth":{"client_token":"b.canary","lease_duration":900}}' if login else b""
            self.send_response(200 if login else 307)
            self.send_header("Location", f"http://127.0.0.1:{elsewhere.server_port}{self.path}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    (tmp_path / "secret").write_text("s")
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as elsewhere,
        ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) as false,
    ):
        threads = [Thread(target=server.serve_forever) for server in (elsewhere, false)]
        for thread in threads:
            thread.start()
        store = Store(
            VaultSettings(
                vault_url=f"http://127.0.0.1:{false.server_port}", vault_secret_id_file=str(tmp_path / "secret")
            )
        )
        for work in (store.get("service/box"), store.put("service/box", "x", 0), store.purge("service/box")):
            with pytest.raises(StoreUnavailable):
                await work
        with pytest.raises(StoreUnavailable):
            await store.names("service")
        await store.close()
        for server, thread in zip((elsewhere, false), threads, strict=True):
            server.shutdown()
            thread.join()
    assert seen == []


def test_secrets_are_not_sent_in_clear(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    with pytest.raises(BadSettings, match="https"):
        Store(VaultSettings(vault_url="http://vault.example.com", vault_secret_id_file=str(tmp_path / "secret")))
    with pytest.raises(BadSettings, match="SECRET_ID_FILE"):
        Store(VaultSettings(vault_secret_id_file=str(tmp_path / "nothing")))


async def test_a_server_with_another_certificate_is_refused(tmp_path: Path) -> None:
    one, two = BaoServer(tmp_path / "one"), BaoServer(tmp_path / "two")
    try:
        await one.start()
        store = Store(
            VaultSettings(
                vault_url=one.url,
                vault_ca_file=two.environ()["HOLDFAST_VAULT_CA_FILE"],
                vault_role_id="holdfast-vault",
                vault_secret_id_file=one.environ()["HOLDFAST_VAULT_SECRET_ID_FILE"],
            )
        )
        with pytest.raises(StoreUnavailable):
            await store.get("service/box")
        await store.close()
    finally:
        one.kill()


async def test_a_document_of_a_newer_version_is_unavailable_and_stays(admin: Admin, running: VaultStack) -> None:
    made = await admin.ok("vaults.create", display_name="newer", metadata={})
    path = paths.vault("default", made["id"])
    async with store_of(running) as store:
        found = await store.get(path)
        assert found
        newer = json.dumps({**json.loads(found.text), "v": 99, "later": [1]})
        await store.put(path, newer, found.version)
        for verb in ("vaults.retrieve", "vaults.update", "vaults.archive", "vaults.delete", "credentials.list"):
            reply = await admin.reply(verb, made["id"])
            assert (reply.status, reply.error) == (503, "api_error"), verb
            assert "newer version" in reply.message
        kept = await store.get(path)
        assert kept
        assert kept.text == newer
        await store.purge(path)


async def test_a_request_of_a_newer_version_is_unavailable(running: VaultStack) -> None:
    async with running.bus() as bus:
        data = await bus.core.request(subjects.VAULT_ADMIN, b'{"v":99,"tenant":"default","verb":"x"}', timeout=10)
    assert msgspec.json.decode(data, type=VaultReply).status == 503
