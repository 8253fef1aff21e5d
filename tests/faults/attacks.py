"""The attacks of hostile sessions by name: what the model of such a session says, and what its client does beside."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from msgspec import Struct

from tests.faults import attack_programs, client_attacks
from tests.faults.attack_programs import bash_call
from tests.support.conversation import Conversation
from tests.support.model import Json, bash, call, say
from tests.support.stack import Stack

MIB: Final = 1 << 20

LOOKS_BACK: Final = bash("echo alive; ls | head -3")
"""The last call of an attack: a model looks at what is left."""


class Attack(Struct, frozen=True):
    """One turn of a hostile session."""

    name: str
    steps: Sequence[Json]
    beside: Callable[[Stack, Conversation], Awaitable[None]] | None = None
    """What the client does once the turn has been asked for."""


def _tool(name: str, **arguments: Any) -> Json:
    return {"name": name, "input": arguments}


TOOL_CALLS: Final[dict[str, list[Json]]] = {
    "file of holes": [
        bash_call("truncate -s 3G holes; ls -l holes"),
        call("read", file_path="holes"),
        call("grep", pattern="x", path="."),
        call("edit", file_path="holes", old_string="x", new_string="y"),
    ],
    "line of 300 MB": [
        bash_call("head -c 300M /dev/zero | tr '\\0' x > line; ls -l line"),
        call("grep", pattern="(x+x+)+y", path="line"),
        call("read", file_path="line"),
    ],
    "loops of links": [
        bash_call("ln -s . here; ln -s a b; ln -s b a; mkdir -p x/y; ln -s ../.. x/y/z; echo made"),
        call("glob", pattern="**/*"),
        call("grep", pattern="made", path="/workspace/here/here/x/y/z"),
        call("read", file_path="a"),
    ],
    "FIFOs": [
        bash_call("mkfifo p; timeout 2 cat p; ls -l p"),
        call("read", file_path="p"),
        call("grep", pattern="x", path="."),
        call("write", file_path="p", content="through"),
    ],
    "pictures side by side": [
        bash_call("(printf '\\x89PNG\\r\\n\\x1a\\n'; head -c 4M /dev/urandom) > picture; ls -l picture"),
        {"tools": [_tool("read", file_path="picture") for _ in range(4)]},
    ],
    "large tool input": [call("write", file_path="large", content="0123456789 " * 30_000)],
    "hundreds of calls in one answer": [{"tools": [_tool("bash", command=f"echo {n}") for n in range(300)]}],
    "hundreds of reads at once": [{"tools": [_tool("glob", pattern="**/*", path="/workspace") for _ in range(200)]}],
}
"""Attacks by calls of tools."""

MODEL: Final[dict[str, list[Json]]] = {
    "one huge delta": [say("x" + " " * (8 * MIB))],
    "deltas by hundreds of thousands": [say("a b c d e f g h " * 20_000)],
    "huge thought": [{"thinking": "x" + " " * (4 * MIB), "text": "Well."}],
    "huge block of an unknown type": [
        {"content": [{"type": "weather", "of": "x" * (4 * MIB)}, {"type": "text", "text": "Well."}]}
    ],
    "huge error bodies": [
        say("At last.", faults=[{"kind": "status", "status": 500, "times": 2, "message": "x" * (4 * MIB)}])
    ],
    "redirects": [say("Never.", faults=[{"kind": "status", "status": 307, "times": 0}])],
    "streams that break off": [say("one two three", faults=[{"kind": "cut", "after": 1, "times": 0}])],
}
"""Attacks by the answers of a model."""

ATTACKS: Final = (
    *(
        Attack(name, [step, LOOKS_BACK, say("So much for that.")])
        for name, step in attack_programs.commands(
            attack_programs.PROCESSES,
            attack_programs.MEMORY,
            attack_programs.FILES,
            attack_programs.SHELL,
            attack_programs.SHARED,
        )
    ),
    *(Attack(name, [*steps, LOOKS_BACK, say("So much for that.")]) for name, steps in TOOL_CALLS.items()),
    *(Attack(name, steps) for name, steps in MODEL.items()),
    *(
        Attack(name, [bash(f"sleep {client_attacks.TURN_S:g}"), say("I read all of it.")], beside)
        for name, beside in client_attacks.BESIDE.items()
    ),
)
