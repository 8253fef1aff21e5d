"""The catalogue of built-in tools: the only list of them. Pure.

A tool is one line in TOOLS, which names its entry. The agents' schema accepts and resolves its configuration, the
harness offers it to the model, and the hand named by `hand` executes it, all from this list. Names and inputs are
those of `agent_toolset_20260401` (SDK, lib/tools/agent_toolset.py).
"""

from typing import Any, Final

import msgspec

TOOLSET: Final = "agent_toolset_20260401"
"""Type of the toolset, on the wire, that these tools form."""

DEFAULT_POLICY: Final = "always_allow"
"""Permission policy of the toolset if its configuration names none. The wire has no default of a single tool."""

SANDBOX: Final = "sandbox"
"""Name and kind of the hand in which commands run and the files of a session are."""


class BuiltInTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that Holdfast executes."""

    name: str
    description: str = ""
    """What the model is told about the tool."""
    properties: dict[str, Any] = {}
    """Properties of its input, as JSON Schema."""
    required: tuple[str, ...] = ()
    hand: str = SANDBOX
    """Name of the hand that executes calls; empty: not implemented, never offered, and enabling it is refused."""
    read_only: bool = False
    """A call changes nothing that another call of the same hand could notice: such calls may run side by side."""
    options: tuple[str, ...] = ()
    """Names of the options that its configuration has on the wire beside `enabled` and `permission_policy`."""
    timeout_argument: str = ""
    """Property of the input by which the model sets the time limit of a call, in milliseconds; empty: it cannot."""

    @property
    def input_schema(self) -> dict[str, Any]:
        """The schema of the input as the Messages API takes it."""
        return {"type": "object", "properties": self.properties, "required": list(self.required)}


_PATH: Final = {"type": "string", "description": "Absolute, or relative to /workspace; `~` is the home directory."}

BASH: Final = BuiltInTool(
    name="bash",
    description="Run a command in a persistent bash shell inside the sandbox, starting in /workspace. Working "
    "directory, environment and background jobs live on between calls. Interactive programs do not work.",
    properties={
        "command": {"type": "string", "description": "The command to run."},
        "restart": {"type": "boolean", "description": "Start a fresh shell instead of running a command."},
        "timeout_ms": {"type": "integer", "description": "End the command after so many ms (default 120000)."},
    },
    timeout_argument="timeout_ms",
)

READ: Final = BuiltInTool(
    name="read",
    description="Read a file of the workspace. Images and PDF files are shown as such. Control characters are spelled "
    "out, such as \\x0c; edit finds them by that spelling.",
    properties={
        "file_path": _PATH,
        "view_range": {
            "type": "array",
            "items": {"type": "integer"},
            "minItems": 2,
            "maxItems": 2,
            "description": "First and last line, counted from 1; a last line of 0 or less: the end of the file.",
        },
    },
    required=("file_path",),
    read_only=True,
)

WRITE: Final = BuiltInTool(
    name="write",
    description="Write a file of the workspace, replacing what it held. Missing directories are made.",
    properties={"file_path": _PATH, "content": {"type": "string"}},
    required=("file_path", "content"),
)

EDIT: Final = BuiltInTool(
    name="edit",
    description="Replace text in a file of the workspace. `old_string` is the text as read shows it, and must occur "
    "exactly once unless `replace_all` is set. Line ends of the file are kept.",
    properties={
        "file_path": _PATH,
        "old_string": {"type": "string"},
        "new_string": {"type": "string"},
        "replace_all": {"type": "boolean"},
    },
    required=("file_path", "old_string", "new_string"),
)

GLOB: Final = BuiltInTool(
    name="glob",
    description="Find files and directories by pattern, newest first. `*` and `?` match within a name, `**` crosses "
    "directories, `[a-z]`, `[!a]` and `[[:digit:]]` match one character, `{a,b}` and `{1..9}` one of several texts "
    "(nested, also with slashes); a backslash quotes. Brackets match themselves too, as in `[id].tsx`. A pattern "
    "without a slash matches in all directories below. Hidden files are included.",
    properties={"pattern": {"type": "string"}, "path": _PATH},
    required=("pattern",),
    read_only=True,
)

GREP: Final = BuiltInTool(
    name="grep",
    description="Search the lines of files with a regular expression of Python's syntax; `[[:space:]]`, `\\<` and "
    "`(?<name>)` work too. Hidden files are searched; directories called .git or node_modules only if `path` lies in "
    "one.",
    properties={"pattern": {"type": "string"}, "path": _PATH},
    required=("pattern",),
    read_only=True,
)

WEB_FETCH: Final = BuiltInTool(
    name="web_fetch",
    hand="",
    options=("allowed_domains", "blocked_domains", "max_content_tokens", "url_sources"),
)

WEB_SEARCH: Final = BuiltInTool(
    name="web_search",
    hand="",
    options=("allowed_domains", "blocked_domains", "user_location"),
)

TOOLS: Final[tuple[BuiltInTool, ...]] = (
    BASH,
    READ,
    WRITE,
    EDIT,
    GLOB,
    GREP,
    WEB_FETCH,
    WEB_SEARCH,
)
"""One line per tool, in the order in which the model sees them."""

BY_NAME: Final = {tool.name: tool for tool in TOOLS}

EXECUTABLE: Final = {tool.name: tool for tool in TOOLS if tool.hand}
"""The tools that can be offered and called."""

IN_SANDBOX: Final = {tool.name: tool for tool in TOOLS if tool.hand == SANDBOX}
"""The tools that a sandbox worker executes."""
