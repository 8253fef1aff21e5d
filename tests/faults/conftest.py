"""Every fault test breaks a stack of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import Stack, stack

Start = Callable[..., Stack]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/faults/" in str(item.path):
            item.add_marker(pytest.mark.timeout(240))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a stack: `start(faults={"harness-1": "harness.response_appended:kill"})`. It ends with the test."""
    with ExitStack() as running:

        def begin(**more: Any) -> Stack:
            return running.enter_context(stack(tmp_path, **more))

        yield begin
