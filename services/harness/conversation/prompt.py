"""The system prompt of a model request: the agent's own text, and that its sandbox has no network. Pure.

The same configuration gives the same bytes, so that prompt caching works.
"""

from typing import Any, Final

from holdfast.bus.events import SessionConfig
from holdfast.harness.tools.offered_tools import uses_sandbox

NO_NETWORK: Final = (
    "Your sandbox, in which bash and the file tools run, has no network: no host can be reached from it, and nothing "
    "can be downloaded or installed over the internet. Use what is installed there, and say so if that is not enough."
)
"""Sandboxes of this version have no network, whatever `networking` of the environment says."""

NAMED_HOSTS_LIMIT: Final = 20
"""Number of allowed hosts that the prompt names; above it the prompt gives the number of the others."""


def system(config: SessionConfig) -> list[str]:
    """The texts of the system prompt in order; may be empty."""
    own = config.agent.get("system")
    texts = [str(own)] if own else []
    if uses_sandbox(config.agent):
        texts.append(" ".join([NO_NETWORK, *_unreachable(config.environment)]))
    return texts


def _unreachable(environment: dict[str, Any]) -> list[str]:
    networking: dict[str, Any] = environment.get("networking") or {}
    hosts: list[str] = networking.get("allowed_hosts") or []
    if not hosts:
        return []
    named = ", ".join(hosts[:NAMED_HOSTS_LIMIT])
    more = f" and {len(hosts) - NAMED_HOSTS_LIMIT} more" if len(hosts) > NAMED_HOSTS_LIMIT else ""
    return [f"This holds for the hosts that the environment allows as well: {named}{more}."]
