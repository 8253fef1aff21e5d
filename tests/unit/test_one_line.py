"""A new tool, event type, credential kind, driver or model is one file at most, and one line in its registry.

Each test adds a toy one to a copy of the sources and uses it from a fresh interpreter.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SERVICES = Path(__file__).parents[2] / "services"

Add = Callable[[str, str, str], None]
"""Puts a text after the first occurrence of another in a file of the copy; creates the file if the other is empty."""
Run = Callable[[str], None]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SERVICES, tmp_path / "holdfast", ignore=shutil.ignore_patterns("__pycache__")))


@pytest.fixture
def add(copy: Path) -> Add:
    def add(name: str, after: str, text: str) -> None:
        path = copy / name
        if not after:
            path.write_text(text)
            return
        before = path.read_text()
        assert before.count(after) == 1, f"{name}: {after!r}"
        path.write_text(before.replace(after, after + text))

    return add


@pytest.fixture
def run(copy: Path) -> Run:
    def run(script: str) -> None:
        ours = f"import holdfast\nassert list(holdfast.__path__) == [{str(copy)!r}], list(holdfast.__path__)\n"
        environment = {"PYTHONPATH": str(copy.parent), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            [sys.executable, "-c", ours + script],
            env=environment, cwd=copy.parent, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    return run


def test_a_tool(add: Add, run: Run) -> None:
    line = '\n    BuiltInTool(name="toy", description="A toy.", properties={"word": {"type": "string"}}),'
    add("bus/tools.py", "    WEB_SEARCH,", line)
    run("""
import msgspec
from holdfast.harness.tools.offered_tools import offered, permission, uses_sandbox
from holdfast.sandbox import drivers, tools
from holdfast.session.agents.tools import Tool, resolve_tools

configs = [{"name": "toy", "enabled": True, "permission_policy": {"type": "always_ask"}}]
given = {"type": "agent_toolset_20260401", "default_config": {"enabled": False}, "configs": configs}
agent = {"tools": resolve_tools([msgspec.convert(given, Tool)])}
schema = {"type": "object", "properties": {"word": {"type": "string"}}, "required": []}
assert offered(agent) == [{"name": "toy", "description": "A toy.", "input_schema": schema}], offered(agent)
assert permission(agent, "toy") == "ask"
assert uses_sandbox(agent)
assert tools.known("toy")
""")


def test_an_event_type(add: Add, run: Run) -> None:
    cls = '\n\nclass Toy(Event, frozen=True, kw_only=True, tag="session.toy"):\n    word: str\n'
    add("bus/events/session.py", 'tag="session.deleted"):\n    pass\n', cls)
    add("bus/events/__init__.py", "    | SessionDeleted\n", "    | Toy\n")
    run("""
from holdfast.bus import codec
from holdfast.bus import events as ev
from holdfast.bus.commits import commit
from holdfast.bus.ids import new_id

made = commit(None, [ev.Toy(id="sevt_1", word="ball")], by="test", new_id=new_id, now=1)
data, _ = codec.encode_commit(made)
assert codec.decode_commit(data) == made
assert b'"type":"session.toy"' in data
assert ev.is_shown(made.events[0])
""")


def test_a_kind_of_credential(add: Add, run: Run) -> None:
    shape = '\n\nclass Toy(Auth, frozen=True, kw_only=True, tag="toy"):\n    word: str = ""\n'
    add("bus/credentials.py", '    """The `auth` object of a credential. The tag is the name of its kind."""\n', shape)
    line = "\n    CredentialKind(create=Toy, update=Toy, shown=Toy),"
    add("bus/credentials.py", "KINDS: Final[tuple[CredentialKind, ...]] = (", line)
    add("vault/kinds/toy.py", "", """
def create(auth, *, loopback):
    return {"type": "toy"}, {"word": auth["word"]}, "toy"

def update(public, auth):
    return public, {"word": auth["word"]}
""")  # fmt: skip
    run("""
import msgspec
from holdfast.session.vaults.schema import CredentialCreate, CredentialUpdate
from holdfast.vault import kinds

body = b'{"auth": {"type": "toy", "word": "ball"}}'
auth = msgspec.to_builtins(msgspec.json.decode(body, type=CredentialCreate).auth)
split = kinds.create(auth, loopback=False)
assert (split.public, split.secret, split.unique) == ({"type": "toy"}, {"word": "ball"}, "toy")
auth = msgspec.to_builtins(msgspec.json.decode(body, type=CredentialUpdate).auth)
assert kinds.update(split.public, auth) == ({"type": "toy"}, {"word": "ball"})
""")


def test_a_driver(add: Add, run: Run) -> None:
    add(
        "sandbox/drivers/toy.py",
        "",
        "class Toy:\n    def __init__(self, settings):\n        self.settings = settings\n",
    )
    add("sandbox/drivers/__init__.py", '"bubblewrap": Bubblewrap', ', "toy": Toy')
    add(
        "sandbox/drivers/__init__.py", "from holdfast.sandbox.drivers.sandbox import Outcome, Sandbox, SandboxLost\n",
        "from holdfast.sandbox.drivers.toy import Toy\n",
    )  # fmt: skip
    run("""
import os
os.environ["HOLDFAST_DRIVER"] = "toy"
from holdfast.process.settings import load
from holdfast.sandbox.drivers import make_driver
from holdfast.sandbox.settings import SandboxSettings

settings = load(SandboxSettings)
made = make_driver(settings)
assert type(made).__name__ == "Toy", made
assert made.settings is settings
""")


def test_a_model(add: Add, run: Run) -> None:
    add(
        "harness/models/toy.py", "", "class Toy:\n    def __init__(self, endpoint):\n        self.endpoint = endpoint\n"
    )
    add("harness/models/registry.py", '"anthropic": _anthropic', ', "toy": Toy')
    add(
        "harness/models/registry.py",
        "    return AnthropicModel(endpoint)\n",
        "\n\nfrom holdfast.harness.models.toy import Toy\n",
    )
    run("""
from holdfast.harness.models.interface import Endpoint
from holdfast.harness.models.registry import MODELS

endpoint = Endpoint(base_url="http://127.0.0.1:1", key="", silence=1.0)
assert MODELS["toy"](endpoint).endpoint is endpoint
""")
