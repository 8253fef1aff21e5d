"""Which tools the model is offered, and what may be done with a call of one. Pure.

Names, inputs and default policies are those of `agent_toolset_20260401` (SDK, lib/tools/agent_toolset.py) and of custom
tools; the agent's toolset arrives fully resolved (`default_config`, `configs`).
"""

from typing import Any, Final, Literal

Permission = Literal["allow", "ask", "deny", "client"]
"""`client`: a custom tool, which only the client can answer. `deny`: not offered, or disabled."""

TOOLSET: Final = "agent_toolset_20260401"

_PATH: Final = {"type": "string", "description": "Absolute, or relative to /workspace."}

BUILT_IN: Final[dict[str, dict[str, Any]]] = {
    "bash": {
        "description": "Run a command in a persistent bash shell inside the sandbox, starting in /workspace. Working "
        "directory, environment and background jobs live on between calls. Interactive programs do not work.",
        "properties": {
            "command": {"type": "string", "description": "The command to run."},
            "restart": {"type": "boolean", "description": "Start a fresh shell instead of running a command."},
            "timeout_ms": {"type": "integer", "description": "Kill the command after so many ms (default 120000)."},
        },
        "required": [],
    },
    "read": {
        "description": "Read a file of the workspace. Images and PDF files are shown as such.",
        "properties": {
            "file_path": _PATH,
            "view_range": {
                "type": "array",
                "items": {"type": "integer"},
                "minItems": 2,
                "maxItems": 2,
                "description": "First and last line, counted from 1; a last line of 0 or less: the end of the file.",
            },
        },
        "required": ["file_path"],
    },
    "write": {
        "description": "Write a file of the workspace, replacing what it held. Missing directories are made.",
        "properties": {"file_path": _PATH, "content": {"type": "string"}},
        "required": ["file_path", "content"],
    },
    "edit": {
        "description": "Replace text in a file of the workspace. `old_string` must occur exactly once unless "
        "`replace_all` is set.",
        "properties": {
            "file_path": _PATH,
            "old_string": {"type": "string"},
            "new_string": {"type": "string"},
            "replace_all": {"type": "boolean"},
        },
        "required": ["file_path", "old_string", "new_string"],
    },
    "glob": {
        "description": "Find files by pattern (`**` crosses directories), newest first.",
        "properties": {"pattern": {"type": "string"}, "path": _PATH},
        "required": ["pattern"],
    },
    "grep": {
        "description": "Search the contents of files with a regular expression.",
        "properties": {"pattern": {"type": "string"}, "path": _PATH},
        "required": ["pattern"],
    },
}
"""What the sandbox can run. `web_search` and `web_fetch` are not among them yet, so they are never offered."""


def _tools(agent: dict[str, Any]) -> list[dict[str, Any]]:
    return agent.get("tools") or []


def _configs(agent: dict[str, Any]) -> dict[str, tuple[bool, str]]:
    """Per built-in tool: whether it is enabled and its policy; empty when the agent has no toolset."""
    for tool in _tools(agent):
        if tool.get("type") == TOOLSET:
            default: dict[str, Any] = tool.get("default_config") or {}
            configs: list[dict[str, Any]] = tool.get("configs") or []
            named = {str(c["name"]): c for c in configs}
            return {name: _resolved(default, named.get(name) or {}) for name in BUILT_IN}
    return {}


def _resolved(default: dict[str, Any], own: dict[str, Any]) -> tuple[bool, str]:
    enabled = own.get("enabled")
    policy = own.get("permission_policy") or default.get("permission_policy") or {"type": "always_allow"}
    return bool(default.get("enabled", True) if enabled is None else enabled), str(policy["type"])


def permission(agent: dict[str, Any], name: str) -> Permission:
    """What may be done with a call of the tool `name`."""
    if any(t.get("type") == "custom" and t.get("name") == name for t in _tools(agent)):
        return "client"
    enabled, policy = _configs(agent).get(name, (False, ""))
    if not enabled:
        return "deny"
    return "ask" if policy == "always_ask" else "allow"


def uses_sandbox(agent: dict[str, Any]) -> bool:
    """Whether a tool of the sandbox is offered."""
    return any(enabled for enabled, _ in _configs(agent).values())


def offered(agent: dict[str, Any]) -> list[dict[str, Any]]:
    """Tool definitions for the Messages API, in a fixed order so that the prompt cache holds."""
    tools = [
        {
            "name": name,
            "description": BUILT_IN[name]["description"],
            "input_schema": {
                "type": "object",
                "properties": BUILT_IN[name]["properties"],
                "required": BUILT_IN[name]["required"],
            },
        }
        for name, (enabled, _) in _configs(agent).items()
        if enabled
    ]
    shown = ("name", "description", "input_schema")
    custom = [t for t in _tools(agent) if t.get("type") == "custom"]
    return tools + [{k: t[k] for k in shown if t.get(k) is not None} for t in custom]
