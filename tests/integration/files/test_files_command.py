"""`holdfast files` against a running session service. The program itself runs once: each start of it takes a second."""

import json
import os
from pathlib import Path

import anthropic
import pytest

from holdfast.cli.client.errors import CannotDo
from holdfast.cli.client.stored_files import Action, carry_out
from holdfast.cli.client.target import Target
from tests.support.command import holdfast
from tests.support.edge import SessionService


async def done(
    edge: SessionService,
    action: Action,
    *names: str | Path,
    to: Path | None = None,
    expires_in: int | None = None,
    as_json: bool = False,
) -> None:
    target = Target(edge.base_url, edge.key)
    given = [str(name) for name in names]
    assert await carry_out(target, action, given, to=to, expires_in=expires_in, as_json=as_json) == 0


async def test_a_file_goes_up_and_comes_back(
    edge: SessionService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, back = os.urandom(100_000), tmp_path / "back.bin"
    (tmp_path / "data.bin").write_bytes(data)
    await done(edge, "upload", tmp_path / "data.bin", expires_in=3600, as_json=True)
    made = json.loads(capsys.readouterr().out)
    assert (made["filename"], made["size_bytes"]) == ("data.bin", len(data))
    assert made["expires_at"]

    listed = await holdfast("files", HOLDFAST_BASE_URL=edge.base_url, HOLDFAST_API_KEY=edge.key)
    assert listed.code == 0, listed
    assert made["id"] in [line.split("\t")[0] for line in listed.out.splitlines()]

    with pytest.raises(CannotDo, match="exists already"):
        await done(edge, "download", made["id"], to=tmp_path / "data.bin")
    await done(edge, "download", made["id"], to=back)
    assert capsys.readouterr().out == f"{back}\n"
    assert back.read_bytes() == data

    await done(edge, "delete", made["id"])
    with pytest.raises(anthropic.NotFoundError):
        await done(edge, "download", made["id"], to=tmp_path / "again.bin")
    assert not (tmp_path / "again.bin").exists()


@pytest.mark.parametrize(
    ("action", "names", "said"),
    [
        ("upload", (), "give the path of a file"),
        ("upload", ("none.txt",), "none.txt: No such file"),
        ("upload", ("/",), "Is a directory"),
        ("list", ("x",), "takes no names"),
    ],
)
async def test_mistakes_are_told(edge: SessionService, action: Action, names: tuple[str, ...], said: str) -> None:
    with pytest.raises(CannotDo, match=said):
        await done(edge, action, *names)


async def test_options_of_another_action_are_refused(edge: SessionService) -> None:
    with pytest.raises(CannotDo, match="--to is for the download"):
        await done(edge, "delete", "x", to=Path("y"))
    with pytest.raises(CannotDo, match="--expires-in is for upload"):
        await done(edge, "show", "x", expires_in=3600)
