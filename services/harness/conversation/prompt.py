"""The system prompt of a model request: the agent's own text, and which network its sandbox has. Pure.

The same configuration gives the same bytes, so that prompt caching works.
"""

from typing import Any, Final

from holdfast.bus.events import SessionConfig
from holdfast.harness.tools.offered_tools import uses_sandbox

NO_NETWORK: Final = (
    "Your sandbox, in which bash and the file tools run, has no network: no host can be reached from it, and nothing "
    "can be downloaded or installed over the internet. Use what is installed there, and say so if that is not enough."
)
"""For an environment that allows no host, and for a system whose operator has not switched the network on."""

BY_PROXY: Final = (
    "by an HTTP proxy alone, which is set in the usual environment variables. Names of hosts are not resolved inside. "
    "The proxy answers 403 with the reason to what is not allowed: do not try to get around it, but say what is "
    "missing."
)

NAMED_HOSTS_LIMIT: Final = 20
"""Number of allowed hosts that the prompt names; above it the prompt gives the number of the others."""


def system(config: SessionConfig, *, egress: bool = False) -> list[str]:
    """The texts of the system prompt in order; may be empty. `egress`: the operator has switched the network on."""
    own = config.agent.get("system")
    texts = [str(own)] if own else []
    if uses_sandbox(config.agent):
        networking: dict[str, Any] = config.environment.get("networking") or {}
        texts.append(_network(networking) if egress else " ".join([NO_NETWORK, *_unreachable(networking)]))
    return texts


def _network(networking: dict[str, Any]) -> str:
    """What an agent is told whose sandbox has the network that its environment asks for."""
    if networking.get("type") == "unrestricted":
        return f"Your sandbox, in which bash and the file tools run, reaches public hosts of the internet {BY_PROXY}"
    reached = [_named(hosts)] if (hosts := _hosts(networking)) else []
    if networking.get("allow_package_managers"):
        reached.append("the package indexes of apt, cargo, gem, go, npm and pip")
    if not reached:
        return NO_NETWORK
    return f"Your sandbox, in which bash and the file tools run, reaches {' and '.join(reached)} {BY_PROXY}"


def _unreachable(networking: dict[str, Any]) -> list[str]:
    hosts = _hosts(networking)
    return [f"This holds for the hosts that the environment allows as well: {_named(hosts)}."] if hosts else []


def _hosts(networking: dict[str, Any]) -> list[str]:
    return networking.get("allowed_hosts") or []


def _named(hosts: list[str]) -> str:
    more = f" and {len(hosts) - NAMED_HOSTS_LIMIT} more" if len(hosts) > NAMED_HOSTS_LIMIT else ""
    return f"{', '.join(hosts[:NAMED_HOSTS_LIMIT])}{more}"
