"""Vaults and credentials through the SDK, the whole stack behind it: point 60 of the conformance list, and refusals."""

from collections.abc import Generator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic

from tests.support.edge import session_service
from tests.support.stack import Stack, stack

TOKEN = "canary-token-6f1d0c7e5b"


def bearer(url: str, token: str = TOKEN) -> dict[str, str]:
    return {"type": "static_bearer", "mcp_server_url": url, "token": token}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    with stack(tmp_path_factory.mktemp("stack"), harnesses=1) as made:
        yield made


@pytest.fixture
def vaults(running: Stack) -> Generator[Any]:
    """Untyped, because much of what is sent here breaks the SDK's own types."""
    with Anthropic(base_url=running.run.base_url, api_key=running.run.api_key, max_retries=0) as client:
        yield client.beta.vaults


def refused(call: Any, *args: Any, **params: Any) -> str:
    """The message of the 400 that the call must end in."""
    with pytest.raises(anthropic.BadRequestError) as wrong:
        call(*args, **params)
    message = wrong.value.body["error"]["message"]  # type: ignore[index]
    assert TOKEN not in message
    return message


def test_a_vault_from_creation_to_deletion(vaults: Any) -> None:
    made = vaults.create(display_name="v", metadata={"user": "u1"})
    assert made.id.startswith("vlt_")
    assert (made.type, made.display_name, made.metadata, made.archived_at) == ("vault", "v", {"user": "u1"}, None)
    assert vaults.retrieve(made.id) == made
    changed = vaults.update(made.id, display_name="w", metadata={"user": None, "team": "t"})
    assert (changed.display_name, changed.metadata) == ("w", {"team": "t"})
    assert vaults.archive(made.id).archived_at is not None
    assert made.id not in [one.id for one in vaults.list()]
    assert made.id in [one.id for one in vaults.list(include_archived=True)]
    assert vaults.delete(made.id).to_dict() == {"id": made.id, "type": "vault_deleted"}
    with pytest.raises(anthropic.NotFoundError):
        vaults.retrieve(made.id)


def test_a_credential_never_shows_its_secret(vaults: Any, running: Stack) -> None:
    vault = vaults.create(display_name="v")
    url = "https://mcp.example.com/sse"
    with httpx.Client(base_url=running.run.base_url, headers={"x-api-key": running.run.api_key}) as http:
        answers = [http.post(f"/v1/vaults/{vault.id}/credentials", json={"auth": bearer(url), "display_name": "c"})]
        made = answers[0].json()
        assert made["auth"] == {"type": "static_bearer", "mcp_server_url": url}
        assert (made["type"], made["vault_id"], made["display_name"]) == ("vault_credential", vault.id, "c")
        path = f"/v1/vaults/{vault.id}/credentials/{made['id']}"
        rotated = {"auth": {"type": "static_bearer", "token": TOKEN + "-two"}, "metadata": {"a": "b"}}
        answers += [http.get(path), http.post(path, json=rotated), http.get(f"/v1/vaults/{vault.id}/credentials")]
        answers += [http.post(f"{path}/archive"), http.delete(path)]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert TOKEN not in answer.text
        assert TOKEN not in str(answer.headers)
    files = [file for file in running.data.rglob("*") if file.is_file()]
    assert any(file.suffix == ".log" for file in files)
    assert [file for file in files if TOKEN.encode() in file.read_bytes()] == []


def test_an_address_is_taken_once_until_it_is_archived(vaults: Any) -> None:
    vault = vaults.create(display_name="v")
    credentials = vaults.credentials
    made = credentials.create(vault.id, auth=bearer("https://mcp.example.com/a"))
    with pytest.raises(anthropic.ConflictError) as taken:
        credentials.create(vault.id, auth=bearer("HTTPS://MCP.example.com:443/a/"))
    assert taken.value.response.headers["x-should-retry"] == "false"
    credentials.archive(made.id, vault_id=vault.id)
    again = credentials.create(vault.id, auth=bearer("https://mcp.example.com/a"))
    assert [one.id for one in credentials.list(vault.id)] == [again.id]
    assert [one.id for one in credentials.list(vault.id, include_archived=True)] == [again.id, made.id]
    assert "changed" in refused(
        credentials.update,
        again.id,
        vault_id=vault.id,
        auth={"type": "static_bearer", "mcp_server_url": "https://mcp.example.com/b"},
    )


def test_lists_come_in_pages(vaults: Any) -> None:
    vault = vaults.create(display_name="v")
    made = [vaults.credentials.create(vault.id, auth=bearer(f"https://mcp.example.com/{i}")).id for i in range(5)]
    page = vaults.credentials.list(vault.id, limit=2)
    assert len(page.data) == 2
    assert [one.id for one in page] == made[::-1]
    refused(vaults.list, page=page.next_page)
    refused(vaults.credentials.list, vault.id, page=page.next_page, include_archived=True)


def test_what_is_wrong_is_refused(vaults: Any) -> None:
    vault = vaults.create(display_name="v")
    create = vaults.credentials.create
    for auth in (
        {"type": "mcp_oauth", "mcp_server_url": "https://x.example", "access_token": TOKEN},
        {"type": "environment_variable", "secret_name": "X", "secret_value": TOKEN, "networking": {}},
    ):
        assert "not available in this version" in refused(create, vault.id, auth=auth)
    for auth in (
        {**bearer("https://x.example"), "colour": TOKEN},
        bearer("http://x.example"),
        bearer("not an address"),
        bearer("https://x.example", ""),
        bearer("https://x.example", TOKEN + "\nx-injected: 1"),
        {"type": "static_bearer", "token": TOKEN},
        {"type": "static_bearer", "mcp_server_url": "https://x.example", "token": [TOKEN]},
        {"type": TOKEN[:6]},
        None,
        TOKEN,
    ):
        refused(create, vault.id, auth=auth)
    for name in ("", "x" * 256, None):
        assert "display_name" in refused(vaults.create, display_name=name)
    assert "metadata" in refused(vaults.create, display_name="v", metadata={f"k{i}": "v" for i in range(17)})
    made = create(vault.id, auth=bearer("https://ok.example"))
    refused(vaults.credentials.mcp_oauth_validate, made.id, vault_id=vault.id)
    assert [one.id for one in vaults.credentials.list(vault.id)] == [made.id]


def test_unknown_vaults_and_credentials_are_not_found(vaults: Any) -> None:
    vault = vaults.create(display_name="v")
    for call in (vaults.retrieve, vaults.update, vaults.archive, vaults.delete, vaults.credentials.list):
        with pytest.raises(anthropic.NotFoundError):
            call("vlt_none")
    for name in ("retrieve", "update", "archive", "delete", "mcp_oauth_validate"):
        with pytest.raises(anthropic.NotFoundError):
            getattr(vaults.credentials, name)("vcrd_none", vault_id=vault.id)


def test_without_the_vault_service_the_answer_is_503(tmp_path_factory: pytest.TempPathFactory) -> None:
    with session_service(tmp_path_factory.mktemp("edge")) as edge:
        vaults = edge.client(max_retries=0).beta.vaults
        with pytest.raises(anthropic.InternalServerError) as down:
            vaults.create(display_name="v")
        assert down.value.status_code == 503
        with pytest.raises(anthropic.InternalServerError):
            vaults.credentials.create("vlt_x", auth=bearer("https://x.example"))  # type: ignore[arg-type]
