"""Other terminals of the same user find the running stacks, and no others."""

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from holdfast.cli.client.target import NoStack, find
from holdfast.cli.embedded import registry, runfile
from holdfast.cli.embedded.runfile import RunFile, started


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "home").mkdir()
    return {"HOME": str(tmp_path / "home")}


def running(folder: Path, environ: dict[str, str], *, pid: int = 0) -> RunFile:
    """A run file of a process that lives: this one, unless `pid` says which."""
    folder.mkdir(parents=True, exist_ok=True)
    run = RunFile(
        base_url=f"http://{folder.name}", api_key=f"hf_{folder.name}", data=str(folder), logs="", nats_url="",
        credentials={}, supervisor=pid or os.getpid(), supervisor_started=started(pid or os.getpid()), processes={},
        health={},
    )  # fmt: skip
    runfile.write(folder / runfile.NAME, run)
    registry.register(run, environ)
    return run


def test_the_only_stack_is_found_from_any_folder(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoStack, match=r"(?s)no stack is running.*holdfast up"):
        find(None, environ)
    run = running(tmp_path / "one", environ)
    target = find(None, environ)
    assert (target.base_url, target.api_key, target.local) == ("http://one", "hf_one", run)
    registry.unregister(run, environ)
    with pytest.raises(NoStack):
        find(None, environ)


def test_with_several_stacks_the_user_must_choose_one(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    running(tmp_path / "one two", environ)
    running(tmp_path / "three", environ, pid=os.getppid())
    with pytest.raises(NoStack, match="2 stacks are running; choose one") as caught:
        find(None, environ)
    assert f"--data '{tmp_path / 'one two'}'" in str(caught.value)
    assert f"--data {tmp_path / 'three'}" in str(caught.value)
    assert find(tmp_path / "three", environ).base_url == "http://three"
    assert find(None, {**environ, "HOLDFAST_DATA": str(tmp_path / "three")}).base_url == "http://three"
    # The folder of the user's terminal goes before the choice.
    monkeypatch.chdir(tmp_path / "three")
    (tmp_path / "three" / ".holdfast").symlink_to(tmp_path / "three")
    assert find(None, environ).base_url == "http://three"


def test_a_named_stack_that_does_not_run_is_not_replaced_by_another(tmp_path: Path, environ: dict[str, str]) -> None:
    running(tmp_path / "one", environ)
    with pytest.raises(NoStack, match=f"no stack is running in {tmp_path / 'two'}") as caught:
        find(tmp_path / "two", environ)
    assert f"--data {tmp_path / 'one'}" in str(caught.value)
    with pytest.raises(NoStack, match="no stack is running in"):
        find(None, {**environ, "HOLDFAST_DATA": str(tmp_path / "two")})
    address = {**environ, "HOLDFAST_BASE_URL": "http://far"}
    with pytest.raises(NoStack, match="HOLDFAST_API_KEY is not"):
        find(None, address)
    assert find(None, {**address, "HOLDFAST_API_KEY": "k"}).base_url == "http://far"


def test_a_stale_entry_is_ignored_and_removed(tmp_path: Path, environ: dict[str, str]) -> None:
    run = running(tmp_path / "one", environ)
    dead = replace(run, data=str(tmp_path / "gone"), supervisor_started=1)
    registry.register(dead, environ)
    folder = registry.folders(environ)[-1]
    assert len(list(folder.iterdir())) == 2
    assert registry.stacks(environ) == [run]
    assert registry.killed(environ) == []
    assert [path.name for path in folder.iterdir()] == [f"{run.supervisor}-{run.supervisor_started}.json"]
    # A stack that is just stopping has no run.json any more.
    (tmp_path / "one" / runfile.NAME).unlink()
    assert registry.stacks(environ) == []


def test_the_error_names_a_killed_stack_until_it_is_started_again(tmp_path: Path, environ: dict[str, str]) -> None:
    run = replace(running(tmp_path / "one", environ), supervisor_started=1)
    runfile.write(tmp_path / "one" / runfile.NAME, run)
    registry.register(run, environ)
    assert registry.stacks(environ) == []
    assert registry.killed(environ) == [run.data]
    with pytest.raises(NoStack, match=f"holdfast up --data {run.data}"):
        find(None, environ)
    again = running(tmp_path / "one", environ)
    assert registry.stacks(environ) == [again]
    assert registry.killed(environ) == []


def test_entries_hold_no_secret_and_are_private(tmp_path: Path, environ: dict[str, str]) -> None:
    running(tmp_path / "one", environ)
    folder = registry.folders(environ)[-1]
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert b"hf_one" not in path.read_bytes()


def test_files_that_others_can_write_are_not_read(tmp_path: Path, environ: dict[str, str]) -> None:
    run = running(tmp_path / "one", environ)
    folder = registry.folders(environ)[-1]
    folder.chmod(0o777)
    assert registry.stacks(environ) == []
    with pytest.raises(OSError, match="can be written by other users"):
        registry.register(run, environ)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_stack_of_another_user_is_not_found(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    running(tmp_path / ".holdfast", environ)
    monkeypatch.chdir(tmp_path)
    assert find(None, environ).base_url == "http://.holdfast"
    os.chown(tmp_path / ".holdfast" / runfile.NAME, 65534, 65534)
    with pytest.raises(NoStack):
        find(None, environ)


def test_the_runtime_folder_is_preferred_if_this_user_owns_it(tmp_path: Path, environ: dict[str, str]) -> None:
    runtime = tmp_path / "runtime"
    with_runtime = {**environ, "XDG_RUNTIME_DIR": str(runtime)}
    assert runtime / "holdfast" not in registry.folders(with_runtime)
    runtime.mkdir()
    assert registry.folders(with_runtime)[0] == runtime / "holdfast"
    running(tmp_path / "one", with_runtime)
    assert len(list((runtime / "holdfast").iterdir())) == 1
    assert len(registry.stacks(with_runtime)) == 1


def test_the_error_says_that_a_named_folder_is_a_file(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(NoStack, match="is a file"):
        find(tmp_path / "file", environ)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / runfile.NAME).write_text("{")
    with pytest.raises(NoStack, match="cannot be read"):
        find(tmp_path / "bad", environ)
