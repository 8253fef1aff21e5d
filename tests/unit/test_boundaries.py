"""Who may import what: services only bus and process, each library has one wrapper, pure modules do no I/O."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "services"
SERVICES = ("session", "harness", "sandbox", "vault")
SHARED = ("bus", "process")

WRAPPED = {
    "nats": ("bus/jetstream/",),
    "hvac": ("vault/store.py",),
    "anthropic": ("harness/models/anthropic", "cli/"),
    "docker": ("sandbox/drivers/docker.py",),
    "sqlite3": ("session/log/readmodel.py",),
}

PURE = (
    "bus/events.py", "bus/head.py", "bus/commits.py", "bus/inputs.py", "bus/commands.py", "bus/subjects.py",
    "bus/streams.py", "harness/turn/decide.py", "harness/turn/ingest.py", "harness/turn/idle.py",
    "harness/conversation/prompt.py", "harness/turn/retry.py", "harness/conversation/context.py",
    "harness/models/to_events.py", "harness/models/sanitize.py", "harness/tools/catalog.py",
    "session/log/serialize.py", "session/events/validation.py", "session/agents/schema.py", "session/agents/resolve.py",
    "session/environments/schema.py", "sandbox/lease.py", "sandbox/placement.py", "vault/urls.py",
)  # fmt: skip
IMPURE = {"asyncio", "time", "random", "os", "socket", "subprocess", "threading", "nats", "pathlib", "httpx2"}


def modules() -> list[str]:
    return sorted(str(p.relative_to(ROOT)) for p in ROOT.rglob("*.py"))


def imports(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse((ROOT / module).read_text())):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("module", [m for m in modules() if m.split("/")[0] in (*SERVICES, *SHARED)])
def test_services_import_only_the_bus_and_the_process(module: str) -> None:
    own = module.split("/", maxsplit=1)[0]
    allowed = {"bus"} if own == "bus" else {own, *SHARED}
    ours = {name.split(".")[1] for name in imports(module) if name.startswith("holdfast.")}
    assert ours <= allowed | ({"process"} if own == "bus" else set())


@pytest.mark.parametrize("library", WRAPPED)
def test_a_library_is_wrapped_in_one_place(library: str) -> None:
    users = [m for m in modules() if any(name.split(".")[0] == library for name in imports(m))]
    assert [m for m in users if not m.startswith(WRAPPED[library])] == []


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_do_no_io(module: str) -> None:
    assert {name.split(".")[0] for name in imports(module)} & IMPURE == set()


@pytest.mark.parametrize("module", modules())
def test_no_clause_that_older_pythons_break(module: str) -> None:
    """CPython 3.11.0 to 3.11.3 wraps what is raised in `except*` in a group (gh-103590); Debian 12 has 3.11.2."""
    assert not any(isinstance(node, ast.TryStar) for node in ast.walk(ast.parse((ROOT / module).read_text())))


def test_the_product_names_no_place_of_its_makers() -> None:
    found = [
        f"{path}:{word}"
        for path in ROOT.parent.rglob("*")
        if path.suffix in (".py", ".md", ".yaml", ".toml", ".conf")
        and not {".venv", ".git", ".cache", ".holdfast"} & set(path.parts)
        and path != Path(__file__)
        for word in ("/work/", "../shared", "/root/")
        if word in path.read_text()
    ]
    assert found == []
