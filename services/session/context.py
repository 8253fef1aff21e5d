"""What the handlers of the edge share: one value, made in `main`, passed to each module's `routes`."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.bus.api import Bus
from holdfast.session.agents.store import AgentStore
from holdfast.session.environments.store import EnvironmentStore
from holdfast.session.settings import SessionSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    bus: Bus
    settings: SessionSettings
    now: Callable[[], int]
    """The clock: microseconds since 1970."""
    agents: AgentStore
    environments: EnvironmentStore
    stopping: asyncio.Event
    """Set when the process drains: endless answers such as event streams end then."""
