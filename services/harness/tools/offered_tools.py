"""The tools that an agent offers to the model, and the permission of each call. Pure.

Built-in tools come from `bus/tools.py`, custom tools from the agent; the agent's toolset is fully resolved
(`default_config`, `configs`).
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from holdfast.bus.tools import DEFAULT_POLICY, EXECUTABLE, SANDBOX, TOOLSET

WITHDRAWN: Final = "Not available any more. A call of it is answered with an error."
"""Description of a tool that the conversation has used and the agent does not offer any more."""

Permission = Literal["allow", "ask", "deny", "client"]
"""`client`: a custom tool, which only the client can answer. `deny`: not offered, or disabled."""


def _tools(agent: dict[str, Any]) -> list[dict[str, Any]]:
    return agent.get("tools") or []


def _configs(agent: dict[str, Any]) -> dict[str, tuple[bool, str]]:
    """Per built-in tool: whether it is enabled and its policy; empty when the agent has no toolset."""
    for tool in _tools(agent):
        if tool.get("type") == TOOLSET:
            default: dict[str, Any] = tool.get("default_config") or {}
            configs: list[dict[str, Any]] = tool.get("configs") or []
            named = {str(c["name"]): c for c in configs}
            return {name: _resolved(default, named.get(name) or {}) for name in EXECUTABLE}
    return {}


def _resolved(default: dict[str, Any], own: dict[str, Any]) -> tuple[bool, str]:
    enabled = own.get("enabled")
    policy = own.get("permission_policy") or default.get("permission_policy") or {"type": DEFAULT_POLICY}
    return bool(default.get("enabled", True) if enabled is None else enabled), str(policy["type"])


def permission(agent: dict[str, Any], name: str) -> Permission:
    """How a call of the tool `name` is treated."""
    if any(t.get("type") == "custom" and t.get("name") == name for t in _tools(agent)):
        return "client"
    enabled, policy = _configs(agent).get(name, (False, ""))
    if not enabled:
        return "deny"
    return "ask" if policy == "always_ask" else "allow"


def uses_sandbox(agent: dict[str, Any]) -> bool:
    """True if a tool that runs in the sandbox is offered."""
    return any(enabled and EXECUTABLE[name].hand == SANDBOX for name, (enabled, _) in _configs(agent).items())


def hand_of(name: str) -> str:
    """Name of the hand that executes the built-in tool `name`; empty if there is no such tool."""
    return EXECUTABLE[name].hand if name in EXECUTABLE else ""


def reads_only(name: str) -> bool:
    """Whether calls of the tool `name` change nothing. Of a tool that is not known, they may change anything."""
    return name in EXECUTABLE and EXECUTABLE[name].read_only


def withdrawn(tools: Sequence[dict[str, Any]], used: Iterable[str]) -> list[dict[str, Any]]:
    """Definitions of the tools in `used` that are not among `tools`, the ones offered now.

    A conversation that holds calls is refused by endpoints if it does not declare their tools, so it declares those
    that an update of the agent has taken away too.
    """
    names = {tool["name"] for tool in tools}
    return [
        {"name": name, "description": WITHDRAWN, "input_schema": {"type": "object"}}
        for name in used
        if name not in names
    ]


def offered(agent: dict[str, Any]) -> list[dict[str, Any]]:
    """Tool definitions for the Messages API, in a fixed order so that the prompt cache holds."""
    tools = [
        {"name": name, "description": EXECUTABLE[name].description, "input_schema": EXECUTABLE[name].input_schema}
        for name, (enabled, _) in _configs(agent).items()
        if enabled
    ]
    shown = ("name", "description", "input_schema")
    custom = [t for t in _tools(agent) if t.get("type") == "custom"]
    return tools + [{k: t[k] for k in shown if t.get(k) is not None} for t in custom]
