"""The system prompt of a model request: the agent's own, and what the agent must know of its sandbox. Pure.

The same configuration gives the same bytes, so that the prompt cache holds.
"""

from typing import Any, Final

from holdfast.bus.events import SessionConfig
from holdfast.harness.tools.catalog import uses_sandbox

NO_NETWORK: Final = (
    "Your sandbox, in which bash and the file tools run, has no network: no host can be reached from it, and nothing "
    "can be downloaded or installed over the internet. Use what is installed there, and say so if that is not enough."
)
"""Sandboxes of this version have no network, whatever the `networking` of their environment says."""

HOSTS_NAMED: Final = 20
"""Allowed hosts of an environment that are named in the prompt; of more only the number is told."""


def system(config: SessionConfig) -> list[str]:
    """The texts of the system prompt in order; empty when there is nothing to say."""
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
    named = ", ".join(hosts[:HOSTS_NAMED])
    more = f" and {len(hosts) - HOSTS_NAMED} more" if len(hosts) > HOSTS_NAMED else ""
    return [f"This holds for the hosts that the environment allows as well: {named}{more}."]
