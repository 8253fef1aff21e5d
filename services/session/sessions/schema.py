"""Bodies of the requests that create and change sessions. Pure."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from holdfast.bus.metadata import Metadata, MetadataPatch
from holdfast.session.agents.schema import SessionAgent
from holdfast.session.agents.tools import Tool
from holdfast.session.events.validation import Sent
from holdfast.session.http.errors import invalid, not_available

MAX_TITLE_CHARS: Final = 500
"""Characters of a title."""

Title = Annotated[str, Meta(max_length=MAX_TITLE_CHARS)]


class SessionCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/sessions`."""

    agent: SessionAgent
    environment_id: str
    budget: dict[str, Any] | None = None
    initial_events: list[Sent] | None = None
    metadata: Metadata | None = None
    resources: list[Any] | None = None
    title: Title | None = None
    vault_ids: list[str] | None = None

    def check_available(self) -> None:
        """Raise ApiError 400 for a field of the API that this version does not have."""
        if self.budget is not None:
            raise not_available("budget: budgets are")
        if self.resources:
            raise not_available("resources: session resources are")
        if self.vault_ids:
            raise not_available("vault_ids: vaults in sessions are")


class AgentPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parts of its agent that a session may replace for itself."""

    tools: list[Tool] | UnsetType = UNSET
    mcp_servers: list[Any] | UnsetType = UNSET


class SessionUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/sessions/{session_id}`: a field that is left out keeps its value."""

    title: Title | UnsetType | None = UNSET
    metadata: MetadataPatch | UnsetType | None = UNSET
    agent: AgentPatch | UnsetType | None = UNSET
    budget: dict[str, Any] | UnsetType | None = UNSET
    vault_ids: list[str] | UnsetType | None = UNSET

    def check_available(self) -> None:
        """Raise ApiError 400 for a field that cannot be changed, or that this version does not have."""
        if self.vault_ids is not UNSET:
            raise invalid("vault_ids: the vaults of a session cannot be changed")
        if isinstance(self.budget, dict):
            raise not_available("budget: budgets are")
