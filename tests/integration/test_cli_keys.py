"""`holdfast keys` against a real stack: make, list, use, revoke, audit."""

import json

import anthropic
import pytest

from holdfast.cli.client.keys import KeyOptions, carry_out
from holdfast.cli.client.target import Target
from holdfast.cli.commands.keys import keys
from tests.support.command import holdfast
from tests.support.stack import Stack

OPTIONS = KeyOptions(role="tenant", tenant="", with_revoked=False, as_json=False)
ALL = KeyOptions(role="tenant", tenant="", with_revoked=True, as_json=True)


async def test_a_key_is_made_used_listed_and_revoked(shared: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    made = await holdfast("keys", "create", "the console", "--role", "read-only", "--data", str(shared.data))
    assert made.code == 0, made
    key = made.out.strip()
    assert key.startswith("hf_")
    assert key not in made.err
    key_id = made.err.partition(":")[0]

    reader, admin = Target(shared.run.base_url, key), Target(shared.run.base_url, shared.run.api_key)
    async with reader.client() as client:
        await client.beta.sessions.list()
    with pytest.raises(anthropic.PermissionDeniedError, match="roles that may: admin"):
        await carry_out(reader, "list", [], OPTIONS)

    assert await carry_out(admin, "list", [], OPTIONS) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    (mine,) = (line for line in lines if line[0] == key_id)
    assert (mine[1:3], mine[4:]) == (["read_only", "default"], ["", "the console"])
    assert ["admin", "default"] in [line[1:3] for line in lines], "the key of the stack"

    with pytest.raises(anthropic.NotFoundError):
        await carry_out(admin, "revoke", ["../agents"], OPTIONS)
    assert await carry_out(admin, "revoke", [key_id], OPTIONS) == 0
    assert capsys.readouterr().out == f"revoked {key_id}\n"
    async with reader.client() as client:
        with pytest.raises(anthropic.AuthenticationError):
            await client.beta.sessions.list()
    await carry_out(admin, "list", [], OPTIONS)
    assert key_id not in capsys.readouterr().out
    await carry_out(admin, "list", [], ALL)
    assert key_id in [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()]

    await carry_out(admin, "audit", [], ALL)
    shown = capsys.readouterr().out
    acts = [json.loads(line) for line in shown.splitlines()]
    assert [act["action"] for act in acts if act["object_id"] == key_id] == ["api_key.revoke", "api_key.create"]
    assert key not in shown


@pytest.mark.parametrize(
    ("action", "names", "cause"),
    [
        ("create", (), "give the new key one name"),
        ("create", ("a", "b"), "give the new key one name"),
        ("revoke", (), "holdfast keys lists the ids"),
        ("list", ("x",), "takes no name"),
    ],
)
def test_mistakes_are_told(action: str, names: tuple[str, ...], cause: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert keys(action, *names) == 2  # type: ignore[arg-type]
    assert cause in capsys.readouterr().err
