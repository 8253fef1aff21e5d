"""Documents: no line over 120 characters, and every link and every path in them leads to a file of the repository."""

import functools
import os
import re
import sysconfig
from fnmatch import fnmatch
from pathlib import Path, PurePath

import pytest

from tests.support.markdown import blocks, inline_code, links

ROOT = Path(__file__).parents[2]
MAX_LINE_CHARS = 120
IGNORED = [".git", *(line.strip("/") for line in (ROOT / ".gitignore").read_text().split())]
"""Names of files and folders that are not in the repository, as patterns."""

PATH = re.compile(r"[\w.-]*(/[\w.*<>-]+)+/?|[\w*-]+\.(py|md)|\w[\w.-]*/")
"""Inline code that is meant as a path: with a slash, or a file of Python or Markdown without its folder."""


@functools.cache
def repository() -> frozenset[str]:
    """The paths of all files and folders of the repository, relative to its top."""
    found: set[str] = set()
    for top, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not any(fnmatch(name, pattern) for pattern in IGNORED)]
        found |= {os.path.relpath(Path(top) / name, ROOT) for name in (*folders, *files)}
    return frozenset(found)


DOCUMENTS = sorted(path for path in repository() if path.endswith(".md"))


def paths(name: str) -> list[str]:
    """The paths that a document names in inline code.

    Left out are absolute paths, which are of the machine, of a sandbox or of the API, and files of the reader, which a
    fenced block of the same document uses.
    """
    text = (ROOT / name).read_text()
    examples = "\n".join(block.text for block in blocks(text))
    return [found for found in inline_code(text) if PATH.fullmatch(found) and found[0] != "/" and found not in examples]


def exists(path: str, document: str) -> bool:
    """Whether a file or folder has this path, relative to the folder of the document or to any other folder.

    A module may lack its `.py`, `<name>` stands for any name, and a path may be one that .gitignore names (it is made
    by a command) or one of an installed package.
    """
    plain = re.sub(r"<[^>]+>", "*", path.rstrip("/"))
    plain = re.sub(r"^holdfast/", "services/", plain)
    beside = os.path.normpath(PurePath(document).parent / plain)
    wanted = [pattern for one in (plain, beside) for pattern in (one, f"{one}.py", f"*/{one}", f"*/{one}.py")]
    return (
        any(fnmatch(found, pattern) for found in repository() for pattern in wanted)
        or any(fnmatch(PurePath(plain).parts[0], pattern) for pattern in IGNORED)
        or (Path(sysconfig.get_path("purelib")) / plain).exists()
    )


def test_there_are_documents() -> None:
    assert {"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/adr/README.md"} <= set(DOCUMENTS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_line_is_longer_than_the_width_of_the_code(name: str) -> None:
    lines = enumerate((ROOT / name).read_text().splitlines(), 1)
    assert [f"{name}:{number}" for number, line in lines if len(line) > MAX_LINE_CHARS] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_to_a_file(name: str) -> None:
    folder = (ROOT / name).parent
    targets = (target.partition("#")[0] for target in links((ROOT / name).read_text()))
    assert [target for target in targets if target and not (folder / target).exists()] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_path_leads_to_a_file(name: str) -> None:
    assert [path for path in paths(name) if not exists(path, name)] == []


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("services/bus/tools.py", True), ("services/<name>/settings.py", True), ("tests/unit/", True),
        ("holdfast/bus/tools", True), ("tools.py", True), ("turn/claim", True), ("dist/", True),
        ("../bus/tools.py", True),
        ("anthropic/lib/", True), ("services/bus/hammer.py", False), ("hammer.py", False), ("turn/hammer", False),
        ("services/<name>/hammer.py", False), ("ools.py", False),
    ],
)  # fmt: skip
def test_a_path_that_leads_nowhere_is_noticed(path: str, found: bool) -> None:
    assert PATH.fullmatch(path)
    assert exists(path, "services/vault/README.md") is found


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "adr"
    index = set(links((folder / "README.md").read_text()))
    assert index == {path.name for path in folder.glob("[0-9]*.md")}
