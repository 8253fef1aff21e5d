import pytest

from holdfast.vault import kinds
from holdfast.vault.bodies import CredentialCreate, ListQuery, VaultCreate, patched, read
from holdfast.vault.errors import Invalid

AUTH = {"type": "static_bearer", "mcp_server_url": "https://MCP.example.com/mcp/", "token": "canary-token"}


def test_a_static_bearer_is_taken_apart() -> None:
    split = kinds.create(AUTH, loopback=False)
    assert split.public == {"type": "static_bearer", "mcp_server_url": "https://MCP.example.com/mcp/"}
    assert split.secret == {"token": "canary-token"}
    assert split.unique == "mcp:https://mcp.example.com/mcp"
    assert "canary" not in str(split.public)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"token": ""}, "auth.token"),
        ({"token": "canary\nX-Header: 1"}, "auth.token"),
        ({"token": "canary " * 3}, "auth.token"),
        ({"token": "c" * 9000}, "auth.token"),
        ({"token": 7}, "auth.token"),
        ({"token": None}, "auth.token"),
        ({"mcp_server_url": "http://mcp.example.com"}, "auth.mcp_server_url"),
        ({"mcp_server_url": None}, "auth.mcp_server_url"),
        ({"mcp_server_url": ["canary"]}, "auth.mcp_server_url"),
        ({"type": "mcp_oauth"}, "not available"),
        ({"type": "environment_variable"}, "not available"),
        ({"type": "canary"}, "auth.type"),
        ({"type": ["canary"]}, "auth.type"),
        ({"canary": "canary"}, "auth.type"),
    ],
)
def test_a_refusal_names_the_field_and_not_the_value(change: dict, names: str) -> None:
    with pytest.raises(Invalid) as refused:
        kinds.create({**AUTH, **change}, loopback=False)
    assert names in str(refused.value)
    assert "canary" not in str(refused.value)


def test_an_update_may_bring_a_new_token_and_nothing_else() -> None:
    public = kinds.create(AUTH, loopback=False).public
    assert kinds.update(public, {"type": "static_bearer", "token": "new"}) == (public, {"token": "new"})
    assert kinds.update(public, {"type": "static_bearer"}) == (public, None)
    assert kinds.update(public, {"type": "static_bearer", "token": None}) == (public, None)
    with pytest.raises(Invalid, match="cannot be changed"):
        kinds.update(public, {"type": "static_bearer", "mcp_server_url": "https://other.example"})
    with pytest.raises(Invalid, match="not available"):
        kinds.update(public, {"type": "mcp_oauth", "access_token": "x"})


@pytest.mark.parametrize(
    ("kind", "raw", "field"),
    [
        (VaultCreate, {}, "display_name"),
        (VaultCreate, {"display_name": ""}, "display_name"),
        (VaultCreate, {"display_name": "x" * 256}, "display_name"),
        (VaultCreate, {"display_name": 1}, "display_name"),
        (VaultCreate, {"display_name": "x", "metadata": {str(i): "" for i in range(17)}}, "metadata"),
        (VaultCreate, {"display_name": "x", "metadata": {"k" * 65: "v"}}, "metadata"),
        (VaultCreate, {"display_name": "x", "metadata": {"k": "v" * 513}}, "metadata"),
        (VaultCreate, {"display_name": "x", "metadata": {"k": None}}, "metadata"),
        (VaultCreate, {"display_name": "x", "other": 1}, "other"),
        (CredentialCreate, {"auth": {"token": "canary"}}, "auth"),
        (ListQuery, {"limit": 0}, "limit"),
        (ListQuery, {"limit": 101}, "limit"),
    ],
)
def test_bodies_are_checked(kind: type, raw: dict, field: str) -> None:
    with pytest.raises(Invalid, match=field):
        read(kind, raw)


def test_a_metadata_patch_sets_and_deletes() -> None:
    assert patched({"a": "1", "b": "2"}, {"b": None, "c": "3"}) == {"a": "1", "c": "3"}
    assert patched({"a": "1"}, None) == {"a": "1"}
    with pytest.raises(Invalid, match="16"):
        patched({str(i): "" for i in range(16)}, {"more": ""})
