"""A workspace of the test, on which the tools run without a sandbox."""

from pathlib import Path
from typing import Any

import pytest

from holdfast.sandbox.agent.files import Root


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(str(tmp_path))


def text_of(blocks: list[dict[str, Any]]) -> str:
    """The text of a result."""
    return str(blocks[0]["text"])


def names_in(*folder: str) -> list[str]:
    """The names of the entries of a folder, sorted."""
    return sorted(path.name for path in Path(*folder).iterdir())
