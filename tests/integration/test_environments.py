"""Environments through the SDK: points 18 to 22 of the conformance list, names and concurrency."""

import asyncio
from collections.abc import Generator
from itertools import count
from typing import Any

import anthropic
import msgspec
import pytest

from tests.support.edge import SessionService, session_service

PACKAGES = {"type": "packages", "apt": [], "cargo": [], "gem": [], "go": [], "npm": [], "pip": []}
OPEN = {"type": "cloud", "networking": {"type": "unrestricted"}, "packages": PACKAGES}

_names = count()


def fresh() -> str:
    return f"environment {next(_names)}"


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Generator[SessionService]:
    with session_service(tmp_path_factory.mktemp("edge")) as running:
        yield running


@pytest.fixture
def environments(edge: SessionService) -> Any:
    """Untyped, because much of what is sent here breaks the SDK's own types."""
    return edge.client(max_retries=0).beta.environments


def refused(call: Any, *args: Any, code: str | None = None, **params: Any) -> str:
    """The message of the 400 that the call must end in."""
    with pytest.raises(anthropic.BadRequestError) as wrong:
        call(*args, **params)
    error = wrong.value.body["error"]  # type: ignore[index]
    if "not available in this version" in error["message"]:
        code = code or "not_available"
    assert error.get("details", {}).get("error_code") == code
    return error["message"]


def limited(**fields: Any) -> dict[str, Any]:
    return {"type": "cloud", "networking": {"type": "limited", **fields}}


def test_a_name_is_enough(environments: Any) -> None:
    name = fresh()
    made = environments.create(name=name)
    assert made.id.startswith("env_")
    assert (made.type, made.name, made.description, made.metadata) == ("environment", name, None, {})
    assert made.config.to_dict() == OPEN
    assert (made.archived_at, made.created_at) == (None, made.updated_at)
    assert made.created_at.endswith("Z")
    assert environments.retrieve(made.id) == made
    for config in (None, {"type": "cloud"}, {"type": "cloud", "networking": None, "packages": None}, OPEN):
        assert environments.create(name=fresh(), config=config).config == made.config


def test_a_name_is_taken_once(environments: Any) -> None:
    name = fresh()
    made = environments.create(name=name)
    with pytest.raises(anthropic.ConflictError) as taken:
        environments.create(name=name)
    assert taken.value.response.headers["x-should-retry"] == "false"
    error = taken.value.body["error"]  # type: ignore[index]
    assert error["message"] == f"name: there is an environment of that name already: {made.id}"
    assert error["details"] == {"error_code": "name_taken", "environment_id": made.id}
    other = environments.create(name=fresh())
    with pytest.raises(anthropic.ConflictError, match=made.id):
        environments.update(other.id, name=name)
    assert environments.retrieve(other.id) == other
    environments.archive(made.id)
    with pytest.raises(anthropic.ConflictError):
        environments.create(name=name)
    environments.delete(made.id)
    assert environments.create(name=name).id != made.id


def test_a_new_name_frees_the_old_one(environments: Any) -> None:
    first, second = fresh(), fresh()
    made = environments.create(name=first)
    assert environments.update(made.id, name=second).name == second
    other = environments.create(name=first)
    with pytest.raises(anthropic.ConflictError):
        environments.update(other.id, name=second)
    environments.delete(other.id)
    assert environments.update(made.id, name=first).name == first


def test_limited_networking_is_filled_up(environments: Any) -> None:
    hosts = ["api.Example.com", "*.example.org", "localhost", "10.0.0.1", "xn--bcher-kva.example"]
    made = environments.create(name=fresh(), config=limited(allowed_hosts=hosts, allow_mcp_servers=True))
    assert made.config.networking.to_dict() == {
        "type": "limited",
        "allowed_hosts": hosts,
        "allow_mcp_servers": True,
        "allow_package_managers": False,
    }
    assert environments.create(name=fresh(), config=limited()).config.networking.allowed_hosts == []


@pytest.mark.parametrize(
    "host",
    [
        *("https://a.example", "a.example:443", "a.example/x", "user@a.example", "[::1]", "", "*", "*.", ".a", "a."),
        *("a..b", "-a.example", "a.*.b", "a b", "bücher.de", "a.example\n", "x" * 64 + ".example"),
    ],
)
def test_an_allowed_host_is_a_bare_name(environments: Any, host: str) -> None:
    message = refused(environments.create, name=fresh(), config=limited(allowed_hosts=["ok.example", host]))
    assert "allowed_hosts[1]" in message


def test_packages(environments: Any) -> None:
    packages = {"packages": {"pip": ["pandas==2.2.0"]}}
    message = refused(environments.create, name=fresh(), config={**limited(), **packages})
    assert "allow_package_managers" in message
    for config in (limited(allow_package_managers=True), {"type": "cloud"}):
        message = refused(environments.create, name=fresh(), config={**config, **packages})
        assert "not available in this version" in message
    assert environments.create(name=fresh(), config={"type": "cloud", "packages": {"pip": [], "npm": None}})


def test_an_update_keeps_what_is_left_out(environments: Any) -> None:
    config = limited(allowed_hosts=["a.example"], allow_package_managers=True)
    made = environments.create(name=fresh(), config=config, description="d", metadata={"a": "1", "b": "2", "c": "3"})
    after = environments.update(made.id, config=limited(allow_mcp_servers=True, allowed_hosts=None))
    assert after.config.networking.to_dict() == {
        "type": "limited",
        "allowed_hosts": ["a.example"],
        "allow_mcp_servers": True,
        "allow_package_managers": True,
    }
    assert (after.name, after.description, after.metadata) == (made.name, "d", made.metadata)
    assert after.updated_at > made.updated_at
    assert environments.update(made.id, config={"type": "cloud"}) == after
    assert environments.update(made.id, metadata={"a": None, "b": "", "d": "4"}).metadata == {"c": "3", "d": "4"}
    assert environments.update(made.id, description="").description == ""
    assert environments.update(made.id, description=None).description is None
    opened = environments.update(made.id, config=OPEN)
    assert opened.config.to_dict() == OPEN
    assert environments.update(made.id, config=limited()).config.networking.allowed_hosts == []


def test_the_type_of_a_configuration_cannot_change(environments: Any) -> None:
    made = environments.create(name=fresh())
    refused(environments.update, made.id, config={"type": "self_hosted"}, code="invalid_config_type_change")
    assert "not available" in refused(environments.create, name=fresh(), config={"type": "self_hosted"})


def test_limits_and_unknown_fields(environments: Any) -> None:
    good = {"name": "x" * 256, "description": "d" * 2048}
    assert environments.create(**good)
    for field, value in good.items():
        assert field in refused(environments.create, **{"name": fresh(), field: value + "x"})
    assert "name" in refused(environments.create, name="")
    assert "scope" in refused(environments.create, name=fresh(), scope="account")
    assert environments.create(name=fresh(), scope="organization").scope == "organization"
    assert "init_script" in refused(environments.create, name=fresh(), config={"type": "cloud", "init_script": "x"})
    assert "colour" in refused(environments.create, name=fresh(), extra_body={"colour": "red"})
    assert "type" in refused(environments.create, name=fresh(), config={"type": "docker"})


def test_archive_is_idempotent_and_final(environments: Any) -> None:
    made = environments.create(name=fresh())
    archived = environments.archive(made.id)
    assert archived.archived_at
    assert environments.archive(made.id) == archived
    refused(environments.update, made.id, description="x", code="environment_archived")
    assert made.id not in [one.id for one in environments.list(limit=100)]
    assert made.id in [one.id for one in environments.list(limit=100, include_archived=True)]


def test_delete_is_for_good(environments: Any) -> None:
    made = environments.create(name=fresh())
    deleted = environments.delete(made.id)
    assert deleted.to_dict() == {"id": made.id, "type": "environment_deleted"}
    for call in (environments.retrieve, environments.delete, environments.archive, environments.update):
        with pytest.raises(anthropic.NotFoundError) as gone:
            call(made.id)
        assert gone.value.body["error"]["details"] == {"error_code": "environment_not_found"}  # type: ignore[index]
    assert made.id not in [one.id for one in environments.list(limit=100, include_archived=True)]


def test_lists_are_newest_first_in_pages(environments: Any) -> None:
    made = [environments.create(name=fresh()).id for _ in range(5)]
    page = environments.list(limit=2)
    assert [one.id for one in page.data] == made[:2:-1]
    assert [one.id for one in page][:5] == made[::-1]


# --- names under concurrency and after crashes ---------------------------------------------------------------------


async def test_of_many_creations_at_once_one_gets_the_name(edge: SessionService) -> None:
    async with edge.async_client(max_retries=0) as client:
        name = fresh()
        tries = [client.beta.environments.create(name=name) for _ in range(8)]
        results = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(one, anthropic.ConflictError) for one in results) == 7
        found = [one.id async for one in client.beta.environments.list(limit=100) if one.name == name]
        assert len(found) == 1


async def test_deleting_and_creating_at_once_never_leaves_two(edge: SessionService) -> None:
    async with edge.async_client(max_retries=0) as client:
        environments = client.beta.environments
        name = fresh()
        for _ in range(5):
            old = await environments.create(name=name)
            await asyncio.gather(
                environments.delete(old.id),
                *(environments.create(name=name) for _ in range(4)),
                return_exceptions=True,
            )
            left = [one.id async for one in environments.list(limit=100) if one.name == name]
            assert len(left) <= 1
            for one in left:
                await environments.delete(one)


async def test_a_name_whose_environment_never_came_is_free_after_a_while(edge: SessionService) -> None:
    name = fresh()
    async with edge.async_client(max_retries=0) as client, edge.bus() as bus:
        made = await client.beta.environments.create(name=name)
        keys = {entry.key: entry for entry in await bus.kv.list("envs", "default.name.*")}
        (key,) = [k for k, entry in keys.items() if entry.value and made.id.encode() in entry.value]
        await bus.kv.delete("envs", f"default.{made.id}")
        # As a crash leaves it: reserved a moment ago, so perhaps its environment still comes; then long ago.
        now = msgspec.json.encode({"id": "env_lost", "at": 1 << 62})
        await bus.kv.put("envs", key, now)
        with pytest.raises(anthropic.ConflictError):
            await client.beta.environments.create(name=name)
        await bus.kv.put("envs", key, msgspec.json.encode({"id": "env_lost", "at": 1}))
        assert (await client.beta.environments.create(name=name)).name == name
