"""The tools of an agent: from the body of a request to the resolved form that is stored, shown and run. Pure.

The tools go to the model with every request of a session. A tool that the Messages API would refuse must be refused
here: every turn of the session would fail.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from holdfast.bus.tools import BY_NAME, DEFAULT_POLICY, TOOLS, TOOLSET
from holdfast.session.agents.input_schema import check_input_schema
from holdfast.session.http.errors import invalid, not_available

if TYPE_CHECKING:
    BuiltIn = str
else:
    BuiltIn = Literal[tuple(BY_NAME)]
    """The name of a built-in tool; msgspec checks it and OpenAPI lists the names."""

BUILT_IN: Final = frozenset(BY_NAME)

UNAVAILABLE: Final = tuple(tool.name for tool in TOOLS if not tool.hand)
"""Not implemented: if the default covers them they are shown as disabled; enabling one by name is refused."""

MAX_TOOLS: Final = 256
"""Tools of one agent: its custom tools and the enabled ones of the toolset."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Policy(_Part, frozen=True, kw_only=True):
    """Whether a call runs at once or waits for a confirmation."""

    type: Literal["always_allow", "always_ask", "auto"]


class DefaultConfig(_Part, frozen=True, kw_only=True):
    enabled: bool | None = None
    permission_policy: Policy | None = None


class ToolConfig(_Part, frozen=True, kw_only=True):
    """One built-in tool. The fields after `permission_policy` are options of the web tools."""

    name: BuiltIn
    type: BuiltIn | None = None
    enabled: bool | None = None
    permission_policy: Policy | None = None
    allowed_domains: list[str] | None = None
    blocked_domains: list[str] | None = None
    max_content_tokens: int | None = None
    url_sources: dict[str, Any] | None = None
    user_location: dict[str, Any] | None = None

    @property
    def has_web_options(self) -> bool:
        options = (self.allowed_domains, self.blocked_domains, self.max_content_tokens, self.url_sources)
        return any(option is not None for option in (*options, self.user_location))


class Toolset(_Part, frozen=True, kw_only=True, tag_field="type", tag=TOOLSET):
    """The built-in tools."""

    configs: list[ToolConfig] | None = None
    default_config: DefaultConfig | None = None


class McpToolset(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="mcp_toolset"):
    """Tools of an MCP server; decoded only to be refused by name."""

    mcp_server_name: str = ""


class CustomTool(_Part, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    """A tool that the client runs."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,128}$(?!\n)")]  # `$` alone lets a last line break through
    description: str
    input_schema: dict[str, Any]


Tool = Toolset | McpToolset | CustomTool

# --- answers -------------------------------------------------------------------------------------------------------


class PolicyObject(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["always_allow", "always_ask"]


class DefaultConfigObject(msgspec.Struct, frozen=True, kw_only=True):
    """How the built-in tools behave that have no entry of their own."""

    enabled: bool
    permission_policy: PolicyObject


class ToolConfigObject(msgspec.Struct, frozen=True, kw_only=True):
    """One built-in tool. The fields after `permission_policy` are there for web tools only."""

    name: BuiltIn
    type: BuiltIn
    enabled: bool
    permission_policy: PolicyObject
    allowed_domains: UnsetType | None = UNSET
    blocked_domains: UnsetType | None = UNSET
    max_content_tokens: UnsetType | None = UNSET
    url_sources: UnsetType | None = UNSET
    user_location: UnsetType | None = UNSET


class ToolsetObject(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=TOOLSET):
    """The built-in tools of an agent, fully resolved."""

    default_config: DefaultConfigObject
    configs: list[ToolConfigObject]


class CustomToolObject(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    """A tool that the client runs."""

    name: str
    description: str
    input_schema: dict[str, Any]


ToolObject = ToolsetObject | CustomToolObject


def resolve_tools(tools: Sequence[Tool], at: str = "tools") -> list[dict[str, Any]]:
    """The tools as stored and shown. Raises ApiError 400, naming the entry after `at`."""
    resolved: list[dict[str, Any]] = []
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        here = f"{at}[{index}]"
        match tool:
            case McpToolset():
                raise not_available(f"{here}: MCP toolsets are")
            case CustomTool():
                _check_custom(tool, here, seen)
                resolved.append(_custom(tool))
            case Toolset():
                if TOOLSET in seen:
                    raise invalid(f"{here}: an agent has at most one {TOOLSET}")
                seen.add(TOOLSET)
                resolved.append(_toolset(tool, here))
    count = sum(_size(tool) for tool in resolved)
    if count > MAX_TOOLS:
        raise invalid(f"{at}: {count} tools; an agent may have at most {MAX_TOOLS} over all toolsets")
    return resolved


def _size(tool: dict[str, Any]) -> int:
    if tool["type"] != TOOLSET:
        return 1
    default: bool = tool["default_config"]["enabled"]
    own: dict[str, bool] = {config["name"]: config["enabled"] for config in tool["configs"]}
    return sum(own.get(name, default) for name in BUILT_IN)


def _toolset(tool: Toolset, at: str) -> dict[str, Any]:
    default = tool.default_config or DefaultConfig()
    enabled = default.enabled is not False
    policy = _policy(default.permission_policy, f"{at}.default_config", DEFAULT_POLICY)
    configs: dict[str, dict[str, Any]] = {}
    for index, config in enumerate(tool.configs or ()):
        here = f"{at}.configs[{index}]"
        if config.name in configs:
            raise invalid(f"{here}: {config.name} is configured twice")
        configs[config.name] = _config(config, here, enabled, policy)
    if enabled:
        for name in UNAVAILABLE:
            configs.setdefault(name, _entry(name, enabled=False, policy=policy))
    return {
        "type": TOOLSET,
        "default_config": {"enabled": enabled, "permission_policy": {"type": policy}},
        "configs": list(configs.values()),
    }


def _config(config: ToolConfig, at: str, default_enabled: bool, default_policy: str) -> dict[str, Any]:
    if config.type not in (None, config.name):
        raise invalid(f"{at}: name {config.name} and type {config.type} differ")
    enabled = default_enabled if config.enabled is None else config.enabled
    if config.name in UNAVAILABLE and enabled:
        raise not_available(f"{at}: the tool {config.name} is")
    if config.has_web_options:
        raise not_available(f"{at}: options of the web tools are")
    return _entry(config.name, enabled=enabled, policy=_policy(config.permission_policy, at, default_policy))


def _entry(name: str, *, enabled: bool, policy: str) -> dict[str, Any]:
    entry = {"name": name, "type": name, "enabled": enabled, "permission_policy": {"type": policy}}
    return entry | dict.fromkeys(BY_NAME[name].options)


def _policy(policy: Policy | None, at: str, default: str) -> str:
    if policy is None:
        return default
    if policy.type == "auto":
        raise not_available(f"{at}.permission_policy: the policy auto is")
    return policy.type


def _check_custom(tool: CustomTool, at: str, seen: set[str]) -> None:
    if tool.name in BUILT_IN:
        raise invalid(f"{at}.name: {tool.name} is the name of a built-in tool")
    if tool.name.startswith("mcp__"):
        raise invalid(f"{at}.name: the prefix mcp__ is reserved")
    if tool.name in seen:
        raise invalid(f"{at}.name: {tool.name} is declared twice")
    seen.add(tool.name)
    check_input_schema(tool.input_schema, f"{at}.input_schema")


def _custom(tool: CustomTool) -> dict[str, Any]:
    # The SDK may send null for these two; the Messages API refuses null there.
    optional = ("properties", "required")
    schema = {k: v for k, v in tool.input_schema.items() if not (k in optional and v is None)}
    return {"type": "custom", "name": tool.name, "description": tool.description, "input_schema": schema}
