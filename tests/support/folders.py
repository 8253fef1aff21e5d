"""Folders with unusual file names, their content, and git, for tests of `--dir`, `diff` and `apply`."""

import os
import stat
import subprocess
from pathlib import Path

from holdfast.cli.client.files.base import Base
from holdfast.cli.client.files.copy_in import copy_in
from holdfast.cli.client.files.copy_plan import plan
from holdfast.cli.embedded.runfile import RunFile

UNUSUAL_NAMES = [
    "plain.txt", "with blank.txt", "deep/er/x.py", "app/[id]/page.tsx", "[/id]", 'quo"te\\back', "new\nline",
    "tab\there", "\x1b[31mred", "ümläut", "日本.md", os.fsdecode(b"latin-\xe9"), "-dash", "$(touch x)", "a b /c d",
    "✓ {}", " lead", "trail ",
]  # fmt: skip


def base_of(tmp_path: Path, session: str = "sesn_a0_1") -> Base:
    """The base of a session in a stack whose data folder is `tmp_path / "data"`; the stack does not run."""
    run = RunFile(
        base_url="", api_key="", data=str(tmp_path / "data"), logs="", nats_url="", credentials={}, supervisor=1,
        processes={}, health={},
    )  # fmt: skip
    return Base(run, session)


def write(folder: Path, files: dict[str, bytes | str]) -> None:
    """Write files, given by their path relative to `folder`."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def state(folder: Path) -> dict[str, tuple[str, bytes]]:
    """The files and links of a folder by relative path, `.git` left out.

    The first value is `link`, or the owner's execute bit of a file (`0o100` or `0o0`). The second is the content of the
    file or the target of the link.
    """
    found: dict[str, tuple[str, bytes]] = {}
    for top, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        for name in [*names, *(f for f in folders if (Path(top) / f).is_symlink())]:
            path = Path(top) / name
            relative = os.path.relpath(path, folder)
            if path.is_symlink():
                found[relative] = ("link", os.fsencode(path.readlink()))
            elif path.is_file():
                found[relative] = (oct(path.stat().st_mode & stat.S_IXUSR), path.read_bytes())
    return found


def git(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    """Run git in `folder` with `given` as input and without the user's configuration; returns its output."""
    environ = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
    }  # fmt: skip
    argv = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(argv, input=given, capture_output=True, env=environ, check=False)
    assert done.returncode == 0, (arguments, done.stderr.decode(errors="replace"), given.decode(errors="replace"))
    return done.stdout


def copied(source: Path, tmp_path: Path) -> Base:
    """Copy `source` into the workspace of a session, as `--dir` does; returns the base of that session."""
    base = base_of(tmp_path)
    copy_in(plan(source), base)
    return base
