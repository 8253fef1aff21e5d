"""The tools of an agent: from what a client writes to the fully resolved form that is stored, shown and run. Pure.

What is accepted here goes to the model with every request of a session, so a tool that the Messages API would refuse
must be refused now: it would brick the session.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from holdfast.bus.tools import BY_NAME, DEFAULT_POLICY, TOOLS, TOOLSET
from holdfast.session.http.errors import invalid, not_available

if TYPE_CHECKING:
    BuiltIn = str
else:
    BuiltIn = Literal[tuple(BY_NAME)]
    """The name of a built-in tool; msgspec checks it and OpenAPI lists the names."""

BUILT_IN: Final = frozenset(BY_NAME)

UNAVAILABLE: Final = tuple(tool.name for tool in TOOLS if tool.runs_in == "nowhere")
"""Not implemented: if the default covers them they are shown as disabled; enabling one by name is refused."""

MAX_TOOLS: Final = 256
"""Tools of one agent: its custom tools and the enabled ones of the toolset."""

_PROPERTY: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""Names that the Messages API takes for the top-level properties of an input schema."""

_NAMED_SCHEMAS: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_PLAIN_VALUES: Final = frozenset({"enum", "const", "default", "examples"})


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Policy(_Part, frozen=True, kw_only=True):
    """Whether a call runs at once or waits for a confirmation."""

    type: Literal["always_allow", "always_ask", "auto"]


class DefaultConfig(_Part, frozen=True, kw_only=True):
    enabled: bool | None = None
    permission_policy: Policy | None = None


class ToolConfig(_Part, frozen=True, kw_only=True):
    """The configuration of a built-in tool. The fields after `permission_policy` are options of the web tools."""

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
    """Tools of an MCP server; read only to be refused by name."""

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
    """The tools as stored and shown. Raises Problem 400, naming the entry after `at`."""
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
    _check_schema(tool.input_schema, f"{at}.input_schema")


def _check_schema(schema: dict[str, Any], at: str) -> None:
    if schema.get("type") != "object":
        raise invalid(f"{at}.type: must be object")
    for word in ("oneOf", "anyOf", "allOf"):
        if word in schema:
            raise invalid(f"{at}: {word} is not allowed at the top level")
    properties, required = schema.get("properties"), schema.get("required")
    if properties is not None:
        _check_properties(properties, f"{at}.properties")
    if required is not None and not _is_list_of_text(required):
        raise invalid(f"{at}.required: must be a list of different names")
    if any("$ref" in part for part in _schemas(schema)):
        raise invalid(f"{at}: $ref is not allowed")


def _check_properties(properties: Any, at: str) -> None:
    if not isinstance(properties, dict):
        raise invalid(f"{at}: must be an object")
    for name, schema in cast("dict[str, Any]", properties).items():
        if not _PROPERTY.fullmatch(name):
            raise invalid(f"{at}: property names have 1 to 64 letters, digits, underscores, dots or hyphens")
        if not isinstance(schema, dict | bool):
            raise invalid(f"{at}.{name}: must be a schema")


def _is_list_of_text(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    items = cast("list[Any]", value)
    return all(isinstance(item, str) for item in items) and len(set(items)) == len(items)


def _schemas(schema: Any) -> Iterator[dict[str, Any]]:
    """`schema` and every schema in it. Names of properties and plain values are not taken for schemas."""
    if isinstance(schema, list):
        for part in cast("list[Any]", schema):
            yield from _schemas(part)
    if not isinstance(schema, dict):
        return
    words = cast("dict[str, Any]", schema)
    yield words
    for word, value in words.items():
        if word in _NAMED_SCHEMAS and isinstance(value, dict):
            yield from _schemas(list(cast("dict[str, Any]", value).values()))
        elif word not in _PLAIN_VALUES:
            yield from _schemas(value)


def _custom(tool: CustomTool) -> dict[str, Any]:
    # The SDK may send null for what is left out; the Messages API takes no null there.
    optional = ("properties", "required")
    schema = {k: v for k, v in tool.input_schema.items() if not (k in optional and v is None)}
    return {"type": "custom", "name": tool.name, "description": tool.description, "input_schema": schema}
