"""Documents: no line over 120 characters, and every link between them leads to a file."""

from pathlib import Path

import pytest

from tests.support.markdown import links

ROOT = Path(__file__).parents[2]
MAX_LINE_CHARS = 120
NOT_OURS = {".venv", ".git", ".cache", ".holdfast", "node_modules"}
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for path in ROOT.rglob("*.md")
    if not NOT_OURS & set(path.relative_to(ROOT).parts) and "holdfast" not in path.relative_to(ROOT).parts[:1]
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


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "adr"
    index = set(links((folder / "README.md").read_text()))
    assert index == {path.name for path in folder.glob("[0-9]*.md")}
