"""The files that `--dir` copies into a workspace, and those that it leaves out."""

import os
import shutil
from pathlib import Path

import pytest

from holdfast.cli.client.files import changes, copy_plan
from holdfast.cli.client.files.copy_in import copy_in
from holdfast.cli.client.files.copy_plan import CannotCopy, leads_outside, plan, summary
from holdfast.cli.client.files.selection import is_secret, matches
from tests.support.folders import UNUSUAL_NAMES, base_of, copied, git, state, write


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    made.mkdir()
    return made


def test_the_workspace_has_every_file_of_the_folder_with_its_unusual_name(source: Path, tmp_path: Path) -> None:
    write(source, {name: f"content of {n}" for n, name in enumerate(UNUSUAL_NAMES)})
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / "inner").symlink_to("deep/er")
    (source / "out").symlink_to("/etc")
    (source / "empty").mkdir()
    made = plan(source)
    assert made.outside == ["out"]
    assert len(made.files) == len(UNUSUAL_NAMES) + 3
    text = "\n".join(summary(made))
    assert text.startswith(f"copying {len(UNUSUAL_NAMES) + 3} files (")
    assert "out" in text
    base = base_of(tmp_path)
    copy_in(made, base)
    assert state(base.workspace) == state(source)
    assert (base.workspace / "empty").is_dir()
    assert base.workspace.stat().st_mode & 0o777 == 0o700
    assert base.folder.parent.parent.parent == tmp_path / "data"
    assert changes.changes(base).items == []


def test_left_out_files_are_named_and_can_be_included(source: Path) -> None:
    write(
        source,
        {
            ".env": "K=1", ".env.example": "K=", "deploy/Server.PEM": "x", "sub/.env.local": "x", "id_rsa": "x",
            "id_rsa.pub": "x", ".npmrc": "x", "a.py": "x", "secrets.py": "x", "node_modules/x/i.js": "x",
            "sub/__pycache__/a.pyc": "x", "credentials/store.py": "x", "config/secrets.yml": "x", ".aws/config": "x",
        },
    )  # fmt: skip
    made = plan(source)
    assert made.files == [".env.example", "a.py", "credentials/store.py", "id_rsa.pub", "secrets.py"]
    assert made.left_out["made anew"] == ["node_modules/", "sub/__pycache__/"]
    assert made.secrets == [
        ".aws/", ".env", ".npmrc", "config/secrets.yml", "deploy/Server.PEM", "id_rsa", "sub/.env.local",
    ]  # fmt: skip
    line = next(line for line in summary(made) if "secrets" in line)
    assert ".env" in line
    assert "and 2 more" in line
    assert "--include" in line

    assert ".env" in plan(source, include=[".env"]).files
    assert "sub/.env.local" not in plan(source, include=[".env"]).files
    assert "sub/.env.local" in plan(source, include=["sub/.env*"]).files
    assert "node_modules/x/i.js" in plan(source, include=["node_modules/x"]).files
    assert "node_modules/x/i.js" in plan(source, include=["node_modules"]).files
    assert "a.py" not in plan(source, exclude=["*.py"], include=["a.py"]).files
    assert "credentials/store.py" not in plan(source, exclude=["credentials/"]).files


def test_files_that_git_ignores_are_left_out(source: Path) -> None:
    write(source, {".gitignore": "dist/\n*.log\n.env\n", "dist/a.js": "x", "b.log": "x", "c.txt": "x", ".env": "x"})
    assert "b.log" in plan(source).files
    git(source, "init", "-q")
    made = plan(source)
    assert [path for path in made.files if not path.startswith(".git/")] == [".gitignore", "c.txt"]
    assert ".git/HEAD" in made.files
    assert made.left_out["ignored by git"] == ["b.log", "dist/"]
    assert made.secrets == [".env"]
    assert "dist/a.js" in plan(source, include=["dist"]).files
    inner = source / "dist"
    assert plan(inner).files == ["a.js"]  # the folder itself was asked for


def test_a_password_in_the_configuration_of_git_is_a_secret(source: Path) -> None:
    git(source, "init", "-q")
    assert ".git/config" in plan(source).files
    git(source, "remote", "add", "origin", "https://me:ghp_token@example.com/x.git")
    assert plan(source).secrets == [".git/config"]
    assert ".git/config" in plan(source, include=[".git/config"]).files


def test_a_note_tells_of_a_secret_in_the_history_of_git(source: Path) -> None:
    git(source, "init", "-q")
    write(source, {"id_rsa": "x", ".env": "x", "a.py": "x"})
    assert not [line for line in summary(plan(source)) if "ever committed" in line]
    git(source, "add", "id_rsa")
    git(source, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "oops")
    assert [line for line in summary(plan(source)) if "ever committed" in line]
    assert not [line for line in summary(plan(source, exclude=[".git"])) if "ever committed" in line]


def test_the_error_says_why_a_folder_cannot_be_copied(source: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotCopy, match="no such folder"):
        plan(tmp_path / "nothing")
    write(tmp_path, {"file": "x"})
    with pytest.raises(CannotCopy, match="not a folder"):
        plan(tmp_path / "file")
    with pytest.raises(CannotCopy, match=r"'\*.rs' .* names nothing"):
        plan(source, exclude=["*.rs"])
    with pytest.raises(CannotCopy, match="data folder of the stack"):
        plan(source / "data" / "logs", data=source / "data")
    with (source / "big").open("wb") as file:
        file.truncate(copy_plan.MAX_BYTES + 1)
    with pytest.raises(CannotCopy, match="at most"):
        plan(source)
    write(source, {"my-data/api.key": "x", "b": "x"})
    made = plan(source, exclude=["big"], data=source / "my-data")
    assert made.files == ["b"]
    assert made.left_out["data of holdfast"] == ["my-data/"]


def test_fifos_and_sockets_are_left_out_and_named(source: Path) -> None:
    os.mkfifo(source / "pipe")
    write(source, {"a": "x"})
    made = plan(source)
    assert made.files == ["a"]
    assert made.left_out["not a file"] == ["pipe"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_the_error_for_an_unreadable_file_says_what_to_do(source: Path) -> None:
    write(source, {"shut": "x", "inner/shut": "x"})
    (source / "shut").chmod(0)
    with pytest.raises(CannotCopy, match=r"cannot read shut: Permission denied.*--exclude 'shut'"):
        plan(source)
    (source / "inner").chmod(0)
    with pytest.raises(CannotCopy, match="inner"):
        plan(source, exclude=["./shut"])
    (source / "inner").chmod(0o755)
    assert plan(source, exclude=["shut"]).files == []


def test_existing_files_of_a_workspace_are_never_overwritten(source: Path, tmp_path: Path) -> None:
    write(source, {"a": "x"})
    base = copied(source, tmp_path)
    with pytest.raises(CannotCopy, match="not empty"):
        copy_in(plan(source), base)


def test_bases_of_deleted_sessions_are_removed(source: Path, tmp_path: Path) -> None:
    write(source, {"a": "x"})
    old = copied(source, tmp_path)
    shutil.rmtree(old.workspace)
    new = base_of(tmp_path, "sesn_a0_2")
    copy_in(plan(source), new)
    assert not old.folder.exists()
    assert new.folder.exists()


@pytest.mark.parametrize(
    ("path", "target", "out"),
    [
        ("a", "b", False), ("a", "/etc", True), ("a", "../b", True), ("d/a", "../b", False), ("d/a", "../../b", True),
        ("a", "d/../../b", True), ("a/b/c", "d/../x", True), ("a", "./b", False), ("d/a", ".././../x", True),
    ],
)  # fmt: skip
def test_links_that_lead_outside_are_recognised(path: str, target: str, out: bool) -> None:
    assert leads_outside(path, target) is out


def test_patterns_match_paths_and_names() -> None:
    assert matches("*.py", "a/b/c.py")
    assert matches("b", "a/b/c")
    assert matches("a/b", "a/b/c")
    assert not matches("./b", "a/b")
    assert matches("./b", "b")
    assert matches("b/", "a/b/c")
    assert is_secret("prod.env")
    assert not is_secret("environment.py")
