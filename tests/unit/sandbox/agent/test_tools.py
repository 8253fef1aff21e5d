"""The service and the agent have the same tools."""

from holdfast.bus.tools import IN_SANDBOX
from holdfast.sandbox.agent.tools import FILE_TOOLS


def test_the_service_and_the_agent_know_the_same_tools() -> None:
    assert set(IN_SANDBOX) == {"bash", *FILE_TOOLS}
