"""The requests of the vault service to its secret store, against a small server that breaks off where it is told to."""

import contextlib
import json
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from holdfast.process.settings import BadSettings
from holdfast.vault.errors import StoreUnavailable
from holdfast.vault.settings import VaultSettings
from holdfast.vault.store import Store
from holdfast.vault.store_api import RequestFailed, StoreApi


class Server:
    """Answers each request with the next of `answers`: a status and a body; logins are always granted."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.hangs_up = False
        """Close each connection after its response, without saying so."""
        self.lease_s = 900.0
        self.seen: list[tuple[str, str, str]] = []
        """Method, path and token of each request."""
        self.connections = 0
        self.logins = 0

    def answer(self, request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        token = request.headers.get("X-Vault-Token", "")
        self.seen.append((request.command, request.path, token))
        if request.path.endswith("/login"):
            self.logins += 1
            auth = {"client_token": f"token-{self.logins}", "lease_duration": self.lease_s}
            return 200, json.dumps({"auth": auth}).encode()
        return self.answers.pop(0)


@contextlib.contextmanager
def serving(server: Server, folder: Path, **settings: Any) -> Generator[VaultSettings]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            server.connections += 1

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline()
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            self.rfile.read(int(self.headers.get("content-length") or 0))
            status, body = server.answer(self)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = server.hangs_up

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name in the base class
            pass

    (folder / "secret").write_text("s")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{http.server_port}"
            yield VaultSettings(vault_url=url, vault_secret_id_file=str(folder / "secret"), **settings)
        finally:
            http.shutdown()
            thread.join()


DOCUMENT = b'{"data": {"data": {"j": "text"}, "metadata": {"version": 3}}}'


async def test_a_connection_is_kept_and_one_that_the_server_closed_is_made_anew(tmp_path: Path) -> None:
    server = Server()
    with serving(server, tmp_path, vault_threads=1) as settings:
        store = Store(settings)
        server.answers = [(200, DOCUMENT)] * 4
        assert (await store.get("a"), await store.get("a")) == (await store.get("a"),) * 2
        assert server.connections == 1
        server.hangs_up = True
        found = await store.get("a")
        assert found is not None
        assert (found.text, found.version) == ("text", 3)
        for _ in range(3):
            server.answers = [(200, DOCUMENT)]
            assert await store.get("a") == found
        assert server.logins == 1
        await store.close()


async def test_a_refused_token_leads_to_one_new_login(tmp_path: Path) -> None:
    server = Server()
    with serving(server, tmp_path, vault_threads=1) as settings:
        store = Store(settings)
        server.answers = [(200, DOCUMENT), (403, b'{"errors": ["permission denied"]}'), (200, DOCUMENT)]
        assert await store.get("a")
        assert await store.get("a")
        assert [token for _, path, token in server.seen if "login" not in path] == ["token-1", "token-1", "token-2"]
        assert [token for _, path, token in server.seen if "login" in path] == ["", ""]
        server.answers = [(403, b"{}")] * 2
        with pytest.raises(StoreUnavailable):
            await store.get("a")
        assert server.answers == []
        await store.close()


async def test_a_token_whose_time_is_up_is_replaced_before_it_is_refused(tmp_path: Path) -> None:
    server = Server()
    server.lease_s = 0
    with serving(server, tmp_path, vault_threads=1) as settings:
        store = Store(settings)
        server.answers = [(200, DOCUMENT)] * 2
        await store.get("a")
        await store.get("a")
        assert server.logins == 2
        await store.close()


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
@pytest.mark.parametrize("body", [b"", b"{}", b"<html>a page</html>"])
async def test_a_write_that_the_server_did_not_confirm_is_no_success(tmp_path: Path, status: int, body: bytes) -> None:
    server = Server()
    with serving(server, tmp_path, vault_threads=1) as settings:
        store = Store(settings)
        server.answers = [(status, body), (503, b"{}"), (503, b"{}")]
        with pytest.raises(StoreUnavailable):
            await store.put("a", "secret text", 0)
        server.answers = [(status, body)]
        with pytest.raises(StoreUnavailable):
            await store.purge("a")
        await store.close()


async def test_a_write_that_was_stored_and_answered_with_an_error_is_found(tmp_path: Path) -> None:
    server = Server()
    with serving(server, tmp_path, vault_threads=1) as settings:
        store = Store(settings)
        server.answers = [(500, b"{}"), (200, DOCUMENT)]
        assert await store.put("a", "text", 2) == 3
        await store.close()


def test_what_is_sent_is_under_the_mount_in_the_namespace(tmp_path: Path) -> None:
    server = Server()
    with serving(server, tmp_path) as settings:
        api = StoreApi(settings)
        server.answers = [(200, b'{"data": {"keys": ["b/", "a"]}}'), (418, b"{}"), (200, b"no JSON")]
        assert api.call("LIST", "m/metadata/x") == {"data": {"keys": ["b/", "a"]}}
        assert server.seen[-1] == ("LIST", "/v1/m/metadata/x", "token-1")
        with pytest.raises(RequestFailed, match="HTTP 418") as refused:
            api.call("GET", "m/data/x")
        assert refused.value.status == 418
        with pytest.raises(RequestFailed, match="without JSON"):
            api.call("GET", "m/data/x")
        api.close()


async def test_without_a_server_the_failure_is_named_and_nothing_of_the_request(tmp_path: Path) -> None:
    server = Server()
    with serving(server, tmp_path) as settings:
        api = StoreApi(settings)
    with pytest.raises(RequestFailed, match=r"^ConnectionRefusedError$") as failed:
        api.call("GET", "m/data/x")
    assert failed.value.status == 0


def test_an_authority_that_cannot_be_read_is_a_bad_setting(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "empty.crt").write_text("no certificate")
    for name in ("absent.crt", "empty.crt"):
        settings = VaultSettings(vault_ca_file=str(tmp_path / name), vault_secret_id_file=str(tmp_path / "secret"))
        with pytest.raises(BadSettings, match=f"VAULT_CA_FILE: cannot read certificates from .*{name}"):
            StoreApi(settings)
