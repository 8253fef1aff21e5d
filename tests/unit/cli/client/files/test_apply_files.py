"""Changes are brought back on real folders: by `git apply` with our patch, and by our own apply."""

import os
import random
import shutil
from pathlib import Path

import pytest

from holdfast.cli.client.files import changes
from holdfast.cli.client.files.apply_files import Applied, CannotApply, apply_changes
from holdfast.cli.client.files.changes import CannotCompare
from holdfast.cli.client.files.patch import patch, quoted, write_patch
from tests.support.folders import UNUSUAL_NAMES, copied, git, state, write


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    made.mkdir()
    return made


def edited(folder: Path) -> None:
    """What an agent may do."""
    lines = (folder / "long.txt").read_text().splitlines(keepends=True)
    lines[3] = "changed\n"
    lines[50:52] = []
    lines.insert(90, "new in the middle\n")
    (folder / "long.txt").write_text("".join(lines))
    (folder / "no newline").write_bytes(b"one\ntwo")
    (folder / "newline gone").write_bytes(b"one\ntwo")
    (folder / "binary").write_bytes(bytes(range(256)) * 20)
    (folder / "latin").write_bytes(b"caf\xe9\r\nx\r\n")
    (folder / "deep/er/x.py").unlink()
    (folder / "moved").rename(folder / "deep/moved there")
    (folder / "script").chmod(0o755)
    (folder / "both").write_text("#!/bin/sh\necho\n")
    (folder / "both").chmod(0o755)
    (folder / "link").unlink()
    (folder / "link").symlink_to("long.txt")
    (folder / "becomes link").unlink()
    (folder / "becomes link").symlink_to("binary")
    (folder / "emptied").write_bytes(b"")
    (folder / "gone empty").unlink()
    write(folder, {f"made/{name}": f"new {name!a}\n" for name in UNUSUAL_NAMES})
    write(folder, {"new empty": b"", "new binary": b"\0\1\2", "new exec": "x\n"})
    (folder / "new exec").chmod(0o755)


BEFORE: dict[str, bytes | str] = {
    "long.txt": "".join(f"line {n % 40}\n" for n in range(120)), "no newline": b"one", "newline gone": b"one\ntwo\n",
    "binary": b"\0\1\2" * 1000, "latin": b"caf\xe9\r\n", "deep/er/x.py": "x\n", "moved": "some content\n",
    "script": "#!/bin/sh\n", "both": "echo\n", "becomes link": "text\n", "emptied": "text\n", "gone empty": b"",
    "stays": "same\n",
}  # fmt: skip


def project(source: Path) -> None:
    write(source, BEFORE)
    (source / "link").symlink_to("stays")


def test_git_apply_takes_the_patch(source: Path, tmp_path: Path) -> None:
    project(source)
    base = copied(source, tmp_path)
    edited(base.workspace)
    whole = b"".join(patch(changes.changes(base)))
    git(source, "init", "-q")
    git(source, "apply", "--whitespace=nowarn", given=whole)
    assert state(source) == state(base.workspace)
    git(source, "apply", "--whitespace=nowarn", "-R", given=whole)
    copy = tmp_path / "again"
    copy.mkdir()
    project(copy)
    assert state(source) == state(copy)


def test_a_patch_of_a_subfolder_applies_there_and_at_the_top_of_the_repository(source: Path, tmp_path: Path) -> None:
    git(source, "init", "-q")
    inner = source / "some where" / "below"
    write(inner, {"a": "1\n", "moved": "x\n"})
    base = copied(inner, tmp_path)
    write(base.workspace, {"a": "2\n", "new": "n\n"})
    (base.workspace / "moved").rename(base.workspace / "there")
    whole = b"".join(patch(changes.changes(base)))
    git(inner, "apply", given=whole)
    assert state(inner) == state(base.workspace)
    git(source, "apply", "-R", given=whole)
    assert (inner / "a").read_text() == "1\n"


def test_apply_gives_the_folder_of_the_agent_and_can_be_repeated(source: Path, tmp_path: Path) -> None:
    project(source)
    base = copied(source, tmp_path)
    edited(base.workspace)
    done = apply_changes(changes.changes(base), source)
    assert "long.txt" in done.written
    assert "stays" not in done.written
    assert done.removed == ["deep/er/x.py", "gone empty", "moved"]
    assert state(source) == state(base.workspace)
    assert not (source / "deep" / "er").exists()
    assert not [path for path in source.iterdir() if path.name.startswith(".holdfast")]
    assert apply_changes(changes.changes(base), source) == Applied([], [])

    # The agent goes on: what an earlier apply left behind may be changed, and what it takes back goes back.
    (base.workspace / "long.txt").write_text(str(BEFORE["long.txt"]))
    (base.workspace / "new empty").unlink()
    (base.workspace / "latin").write_bytes(b"again\n")
    assert apply_changes(changes.changes(base), source) == Applied(["latin", "long.txt"], ["new empty"])
    assert state(source) == state(base.workspace)


def test_random_edits_come_back_by_patch_and_by_apply(tmp_path: Path) -> None:
    chance = random.Random(5)
    words = [b"a\n", b"b\n", b"c\n", b"\n", b"d", b"\r\n", b"\xff\n"]

    def text() -> bytes:
        return b"".join(chance.choices(words, k=chance.randrange(60)))

    for number in range(25):
        home = tmp_path / str(number)
        source = home / "source"
        source.mkdir(parents=True)
        write(source, {name: text() for name in "abcdef"})
        base = copied(source, home)
        for name in "abcdefgh":
            match chance.randrange(4):
                case 0:
                    (base.workspace / name).unlink(missing_ok=True)
                case 1:
                    (base.workspace / name).write_bytes(text())
                case 2 if (base.workspace / name).exists():
                    lines = (base.workspace / name).read_bytes().split(b"\n")
                    lines.insert(chance.randrange(len(lines) + 1), b"inserted")
                    (base.workspace / name).write_bytes(b"\n".join(lines))
                case _:
                    pass
        found = changes.changes(base)
        other = home / "other"
        shutil.copytree(source, other)
        git(other, "init", "-q")
        if found.items:
            git(other, "apply", "--whitespace=nowarn", given=b"".join(patch(found)))
        apply_changes(found, source)
        assert state(source) == state(base.workspace) == state(other)


def test_nothing_is_changed_if_one_file_has_changed_meanwhile(source: Path, tmp_path: Path) -> None:
    project(source)
    base = copied(source, tmp_path)
    edited(base.workspace)
    (source / "latin").write_text("mine")
    (source / "new empty").write_text("mine too")
    (source / "script").unlink()
    before = state(source)
    with pytest.raises(CannotApply) as refused:
        apply_changes(changes.changes(base), source)
    text = str(refused.value)
    assert "latin: you changed it since it was copied" in text
    assert "new empty: it is there, but was not copied in" in text
    assert "script: you removed it" in text
    assert "long.txt" not in text
    assert state(source) == before


def test_a_failure_in_the_middle_undoes_everything(source: Path, tmp_path: Path) -> None:
    write(source, {"a": "1\n", "b": "2\n", "z/c": "3\n"})
    base = copied(source, tmp_path)
    for name in ("a", "b", "z/c", "y/new"):
        write(base.workspace, {name: "other\n"})
    before = state(source)
    found = changes.changes(base)
    (base.workspace / "z/c").write_text("swapped after it was compared\n")
    with pytest.raises(CannotApply, match="being changed"):
        apply_changes(found, source)
    assert state(source) == before
    assert {path.name for path in source.iterdir()} == {"a", "b", "z"}


def test_left_out_files_are_never_touched(source: Path, tmp_path: Path) -> None:
    git(source, "init", "-q")
    write(source, {".gitignore": "build/\n*.log\n", ".env": "KEY=secret\n", "build/x": "mine", "a": "1\n"})
    git(source, "add", "a", ".gitignore")
    git(source, "commit", "-qm", "first")
    base = copied(source, tmp_path)
    box = base.workspace
    write(
        box,
        {
            ".env": "KEY=forged\n", "build/x": "forged", "build/y": "made", "debug.log": "x", "a": "2\n",
            ".git/hooks/post-checkout": "evil", "sub/.git/config": "evil", "node_modules/x": "x",
        },
    )  # fmt: skip
    git(box, "commit", "-qam", "by the agent")
    hooks = {path.name for path in (source / ".git" / "hooks").iterdir()}
    found = changes.changes(base)
    assert [change.path for change in found.items] == ["a"]
    assert found.commits == 1
    assert found.ignored == ["debug.log"]
    text = "\n".join(changes.lines(found))
    assert "1 new commit," in text
    assert apply_changes(found, source) == Applied(["a"], [])
    assert (source / ".env").read_text() == "KEY=secret\n"
    assert (source / "build" / "x").read_text() == "mine"
    assert not (source / "sub").exists()
    assert {path.name for path in (source / ".git" / "hooks").iterdir()} == hooks
    assert git(source, "log", "--oneline").count(b"\n") == 1


def test_new_files_of_a_folder_that_git_ignores_as_a_whole_come_back(source: Path, tmp_path: Path) -> None:
    git(source, "init", "-q")
    write(source, {".gitignore": "*\n", "project/a": "1\n"})
    base = copied(source / "project", tmp_path)
    write(base.workspace, {"new": "n\n"})
    assert [change.path for change in changes.changes(base).items] == ["new"]


def test_apply_never_follows_a_link(source: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write(outside, {"secret": "the user's", "victim": "untouched"})
    write(source, {"a/x": "1\n", "b/victim": "1\n", "c": "1\n"})
    base = copied(source, tmp_path)
    box = base.workspace

    # The sandbox swaps a file, and a folder, for links to files of this machine: they are never read.
    (box / "c").unlink()
    (box / "c").symlink_to(outside / "secret")
    shutil.rmtree(box / "a")
    (box / "a").symlink_to(outside)
    found = changes.changes(base)
    whole = b"".join(patch(found))
    assert b"the user's" not in whole
    with pytest.raises(CannotApply, match="leads out of the folder"):
        apply_changes(found, source)
    assert (source / "c").read_text() == "1\n"

    # The folder of the user has a link on the way: what is behind it is never written.
    (box / "c").unlink()
    (box / "c").write_text("1\n")
    (box / "a").unlink()
    write(box, {"a/x": "1\n", "b/victim": "overwritten"})
    shutil.rmtree(source / "b")
    (source / "b").symlink_to(outside)
    with pytest.raises(CannotApply, match="it is a link"):
        apply_changes(changes.changes(base), source)
    assert (outside / "victim").read_text() == "untouched"


def test_a_file_that_is_swapped_after_it_was_compared_is_not_followed(source: Path, tmp_path: Path) -> None:
    write(tmp_path, {"secret": "the user's"})
    write(source, {"a": "1\n"})
    base = copied(source, tmp_path)
    (base.workspace / "a").write_text("2\n")
    found = changes.changes(base)
    (base.workspace / "a").unlink()
    (base.workspace / "a").symlink_to(tmp_path / "secret")
    with pytest.raises(CannotCompare, match="it is a link"):
        found.new(found.items[0])
    with pytest.raises(CannotApply):
        apply_changes(found, source)
    assert (source / "a").read_text() == "1\n"


def test_other_things_than_files_in_the_workspace_are_named_and_do_not_block(source: Path, tmp_path: Path) -> None:
    write(source, {"a": "1\n"})
    base = copied(source, tmp_path)
    os.mkfifo(base.workspace / "pipe")
    (base.workspace / "a").unlink()
    os.mkfifo(base.workspace / "a")
    with (base.workspace / "huge").open("wb") as file:
        file.truncate(600 * 1024 * 1024)
    deep = base.workspace
    for _ in range(150):
        deep = deep / "d"
    deep.mkdir(parents=True)
    found = changes.changes(base)
    assert found.items == []
    assert found.unread["pipe"] == "a fifo"
    assert "larger" in found.unread["huge"]
    assert found.unread["a"] == "a fifo"
    assert len(found.unread) == 4


def test_the_list_of_changes_is_short_and_safe(source: Path, tmp_path: Path) -> None:
    write(source, {"moved": "x\n", "same": "x"})
    base = copied(source, tmp_path)
    (base.workspace / "moved").rename(base.workspace / "[id]\x1b[31m")
    write(base.workspace, {f"n{n:02}": "x" for n in range(20)})
    lines = changes.lines(changes.changes(base))
    assert len(lines) == changes.SUMMARY_CHANGES + 1
    assert lines[0] == "  renamed  moved → [id]"
    assert lines[-1] == "  … and 9 more"
    assert not any("\x1b" in line for line in lines)


def test_a_patch_is_written_whole_or_not_at_all(source: Path, tmp_path: Path) -> None:
    write(source, {"a": "1\n"})
    base = copied(source, tmp_path)
    write(base.workspace, {"a": "2\n"})
    write_patch(changes.changes(base), tmp_path / "fix.patch")
    assert (tmp_path / "fix.patch").read_bytes().endswith(b"@@ -1 +1 @@\n-1\n+2\n")
    with pytest.raises(CannotCompare, match="cannot write"):
        write_patch(changes.changes(base), tmp_path / "no" / "fix.patch")
    assert quoted("a\nb") == '"a\\nb"'
    assert quoted("ü") == '"\\303\\274"'
