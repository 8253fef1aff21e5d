"""The rules of the tree: which module may import which, which modules do no I/O, and how large things may be.

A module is pure if the first paragraph of its docstring ends in the word `Pure.`: neither it nor anything of ours that
it imports may reach the network, the disk, a clock or randomness, so it takes times and ids as arguments.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "services"
SERVICES = ("session", "harness", "sandbox", "vault")
SHARED = ("bus", "process")

WRAPPED = {
    "nats": ("bus/jetstream/",),
    "hvac": ("vault/store.py",),
    "anthropic": ("harness/models/anthropic", "cli/"),
    "docker": ("sandbox/drivers/docker/",),
    "sqlite3": ("session/log/readmodel",),
}

IMPURE = {
    "asyncio", "time", "random", "os", "socket", "subprocess", "threading", "nats", "httpx2", "secrets", "ssl",
    "select", "signal", "tempfile", "shutil", "sqlite3", "aiohttp", "requests", "hvac", "uvicorn",
}  # fmt: skip
DISK = {
    "read_text", "write_text", "read_bytes", "write_bytes", "open", "iterdir", "rglob", "mkdir", "unlink", "is_file",
    "is_dir", "exists", "stat", "resolve",
}  # fmt: skip
"""Methods of `pathlib.Path` that reach the disk; paths themselves are values."""
MAKERS = {"new_id", "new_session_id"}
"""Functions of `bus/ids.py` that read the clock and a source of randomness."""

LAYERS = (
    ("session/http/",),
    ("session/storage/",),
    (
        *("session/agents/", "session/environments/", "session/vaults/"),
        *("session/api_keys/", "session/audit/", "session/models/", "session/webhooks/", "session/files/"),
    ),
    ("session/log/",),
    ("session/events/",),
    ("session/sessions/",),
    ("session/tasks/",),
    ("session/jobs/",),
    ("session/endpoints.py", "session/main.py", "session/__main__.py"),
)
"""The session service from bottom to top: a module imports only from its own layer and those below."""

MAX_FILE_LINES = 400
MAX_CLASS_LINES = 250
MAX_FUNCTION_LINES = 60
LARGER = {
    "cli/commands/run.py": "the options of the command, each with its help text, are the parameters of one function",
}
"""Files that may hold larger things, each with its reason."""


@cache
def modules() -> tuple[str, ...]:
    return tuple(sorted(str(p.relative_to(ROOT)) for p in ROOT.rglob("*.py")))


@cache
def parsed(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text())


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _nodes(node: ast.AST, *, in_functions: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not in_functions and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if _is_type_checking(child):
            assert isinstance(child, ast.If)
            for other in child.orelse:
                yield from (other, *_nodes(other, in_functions=in_functions))
            continue
        yield child
        yield from _nodes(child, in_functions=in_functions)


def _package(module: str) -> list[str]:
    return ["holdfast", *module.removesuffix(".py").split("/")][:-1]


@cache
def imports(module: str, *, in_functions: bool = True) -> frozenset[str]:
    """Full names of everything that a module imports at run time; of `from a import b` both `a` and `a.b`.

    Not `in_functions`: only what is imported when the module is.
    """
    found: set[str] = set()
    for node in _nodes(parsed(module), in_functions=in_functions):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = _package(module)
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            found |= {name, *(f"{name}.{alias.name}" for alias in node.names)}
    return frozenset(found)


@cache
def imported_modules(module: str, *, in_functions: bool = True) -> frozenset[str]:
    """The modules of ours that a module imports itself."""
    found: set[str] = set()
    for name in imports(module, in_functions=in_functions):
        path = "/".join(name.split(".")[1:]) if name.startswith("holdfast.") else ""
        found |= {candidate for candidate in (f"{path}.py", f"{path}/__init__.py") if path and candidate in modules()}
    return frozenset(found - {module})


def is_pure(module: str) -> bool:
    return (ast.get_docstring(parsed(module)) or "").split("\n\n")[0].endswith("Pure.")


PURE = [module for module in modules() if is_pure(module)]


def _reached(module: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Everything that a module imports, and that is imported with it: the way to it, and the names."""
    yield module, imports(module)
    seen = {module}
    waiting = [(module, other) for other in sorted(imported_modules(module))]
    while waiting:
        way = waiting.pop()
        if way[-1] not in seen:
            seen.add(way[-1])
            yield " → ".join(way), imports(way[-1], in_functions=False)
            waiting += [(*way, other) for other in sorted(imported_modules(way[-1], in_functions=False))]


# --- services ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [m for m in modules() if m.split("/")[0] in (*SERVICES, *SHARED)])
def test_services_import_only_the_bus_and_the_process(module: str) -> None:
    own = module.split("/", maxsplit=1)[0]
    ours = {name.split(".")[1] for name in imports(module) if name.startswith("holdfast.")}
    assert ours <= {own, *SHARED} - ({"bus"} if own == "process" else set())


@pytest.mark.parametrize(
    ("package", "others"), [("scripted_model", set[str]()), ("testing", {"bus"}), ("process", set[str]())]
)
def test_packages_that_stand_alone(package: str, others: set[str]) -> None:
    inside = [m for m in modules() if m.startswith(f"{package}/")]
    ours = {name.split(".")[1] for m in inside for name in imports(m) if name.startswith("holdfast.")}
    assert ours <= {package, *others}


@pytest.mark.parametrize("library", WRAPPED)
def test_a_library_is_wrapped_in_one_place(library: str) -> None:
    users = [m for m in modules() if any(name.split(".")[0] == library for name in imports(m))]
    assert [m for m in users if not m.startswith(WRAPPED[library])] == []


# --- pure modules ------------------------------------------------------------------------------------------------


def test_the_marker_finds_the_pure_modules() -> None:
    for known in ("bus/head.py", "bus/commits.py", "bus/events/__init__.py", "session/log/serialize.py"):
        assert known in PURE
    assert len(PURE) >= 40


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_do_no_io_by_any_way(module: str) -> None:
    for way, names in _reached(module):
        libraries = {name.split(".")[0] for name in names}
        assert not libraries & IMPURE, f"{way} imports {', '.join(sorted(libraries & IMPURE))}"


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_use_no_disk(module: str) -> None:
    calls = [node.func for node in ast.walk(parsed(module)) if isinstance(node, ast.Call)]
    assert not {
        f"{call.lineno}: {call.attr}" for call in calls if isinstance(call, ast.Attribute) and call.attr in DISK
    }


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_make_no_ids(module: str) -> None:
    for way, names in _reached(module):
        made = {f"holdfast.bus.ids.{maker}" for maker in MAKERS} & names
        assert not made, f"{way} imports {', '.join(sorted(made))}"


# --- the session service -----------------------------------------------------------------------------------------


def _layer(module: str) -> int | None:
    return next((n for n, names in enumerate(LAYERS) if module.startswith(names)), None)


@pytest.mark.parametrize("module", [m for m in modules() if _layer(m) is not None])
def test_the_session_service_imports_downwards(module: str) -> None:
    above = {m for m in imported_modules(module) if (_layer(m) or 0) > (_layer(module) or 0)}
    assert not above


RESOURCES = ("session/agents/", "session/environments/", "session/vaults/")


@pytest.mark.parametrize("module", [m for m in modules() if m.startswith(("session/http/", *RESOURCES))])
def test_http_knows_no_resource_and_resources_do_not_know_each_other(module: str) -> None:
    own = next(name for name in ("session/http/", *RESOURCES) if module.startswith(name))
    allowed = (own,) if own == "session/http/" else (own, "session/http/", "session/storage/")
    outside = {m for m in imported_modules(module) if m.startswith("session/") and not m.startswith(allowed)}
    assert outside - {"session/__init__.py"} == set()


# --- sizes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [m for m in modules() if m not in LARGER])
def test_sizes(module: str) -> None:
    lines = (ROOT / module).read_text().count("\n")
    assert lines <= MAX_FILE_LINES, f"{module} has {lines} lines"
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or 0) - node.lineno + 1
            most = MAX_CLASS_LINES if isinstance(node, ast.ClassDef) else MAX_FUNCTION_LINES
            assert size <= most, f"{module}:{node.lineno} {node.name} has {size} lines"


@pytest.mark.parametrize("module", modules())
def test_no_clause_that_older_pythons_break(module: str) -> None:
    """CPython 3.11.0 to 3.11.3 wraps what is raised in `except*` in a group (gh-103590); Debian 12 has 3.11.2."""
    assert not any(isinstance(node, ast.TryStar) for node in ast.walk(parsed(module)))


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
