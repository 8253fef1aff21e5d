"""The shapes of agents: bodies of requests, the configuration that is stored, and the objects in answers. Pure."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from holdfast.bus.metadata import Metadata, MetadataPatch
from holdfast.session.agents.tools import Tool, ToolObject
from holdfast.session.http.timestamps import TimeText

Effort = Literal["low", "medium", "high", "xhigh", "max"]
ModelId = Annotated[str, Meta(min_length=1, max_length=256)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
Description = Annotated[str, Meta(max_length=2048)]
System = Annotated[str, Meta(max_length=100_000)]


class _Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class EffortParams(_Params, frozen=True, kw_only=True):
    type: Effort


class ModelParams(_Params, frozen=True, kw_only=True):
    """A model with its options."""

    id: ModelId
    effort: Effort | EffortParams | None = None
    inference_geo: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    speed: Literal["standard", "fast"] | None = None


Model = ModelId | ModelParams


class AgentCreate(_Params, frozen=True, kw_only=True):
    """Body of `POST /v1/agents`."""

    model: Model
    name: Name
    description: Description | None = None
    execution_identity: dict[str, Any] | None = None
    mcp_servers: list[Any] | None = None
    metadata: Metadata | None = None
    multiagent: dict[str, Any] | None = None
    skills: list[Any] | None = None
    system: System | None = None
    tools: list[Tool] | None = None


class AgentUpdate(_Params, frozen=True, kw_only=True):
    """Body of `POST /v1/agents/{agent_id}`: a field that is left out stays unchanged, null or empty clears it."""

    model: Model | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    execution_identity: dict[str, Any] | UnsetType | None = UNSET
    mcp_servers: list[Any] | UnsetType | None = UNSET
    metadata: MetadataPatch | UnsetType | None = UNSET
    multiagent: dict[str, Any] | UnsetType | None = UNSET
    skills: list[Any] | UnsetType | None = UNSET
    system: System | UnsetType | None = UNSET
    tools: list[Tool] | UnsetType | None = UNSET
    version: Annotated[int, Meta(ge=1)] | UnsetType = UNSET


class AgentRef(_Params, frozen=True, kw_only=True, tag_field="type", tag="agent"):
    """An agent at a version, or the latest."""

    id: str
    version: Annotated[int, Meta(ge=1)] | None = None


class AgentWithOverrides(_Params, frozen=True, kw_only=True, tag_field="type", tag="agent_with_overrides"):
    """An agent with fields replaced for one session. A field that is left out is inherited, null or empty clears it."""

    id: str
    version: Annotated[int, Meta(ge=1)] | None = None
    model: Model | UnsetType | None = UNSET
    system: System | UnsetType | None = UNSET
    tools: list[Tool] | UnsetType | None = UNSET
    mcp_servers: list[Any] | UnsetType | None = UNSET
    skills: list[Any] | UnsetType | None = UNSET


SessionAgent = str | AgentRef | AgentWithOverrides
"""`agent` in the body of `POST /v1/sessions`."""


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The versioned part of an agent, resolved. An update that leaves it equal makes no new version.

    `model` is a ModelObject and `tools` are ToolObjects as plain JSON: a record of a newer version stays readable.
    """

    name: str
    description: str | None
    model: dict[str, Any]
    system: str | None
    tools: list[dict[str, Any]]
    metadata: dict[str, str]


# --- answers -------------------------------------------------------------------------------------------------------


class EffortObject(msgspec.Struct, frozen=True, kw_only=True):
    type: Effort


class ModelObject(msgspec.Struct, frozen=True, kw_only=True):
    """A model with all its options."""

    id: str
    effort: EffortObject
    speed: Literal["standard"]
    inference_geo: str | None


class ExecutionIdentity(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["service_account"]


class SessionAgentObject(msgspec.Struct, frozen=True, kw_only=True):
    """The copy of an agent in a session. The fields that this version does not offer are empty."""

    id: str
    type: Literal["agent"]
    version: int
    name: str
    description: str | None
    model: ModelObject
    system: str | None
    tools: list[ToolObject]
    mcp_servers: Annotated[list[dict[str, Any]], Meta(max_length=0)]
    skills: Annotated[list[dict[str, Any]], Meta(max_length=0)]
    multiagent: None
    execution_identity: ExecutionIdentity


class AgentObject(SessionAgentObject, frozen=True, kw_only=True):
    """An agent at one version."""

    metadata: dict[str, str]
    created_at: TimeText
    updated_at: TimeText
    archived_at: TimeText | None
