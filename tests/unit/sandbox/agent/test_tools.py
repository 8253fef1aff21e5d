"""The service and the agent have the same tools."""

from holdfast.sandbox.agent.tools import FILE_TOOLS
from holdfast.sandbox.tools import TOOLS


def test_the_service_and_the_agent_know_the_same_tools() -> None:
    assert set(TOOLS) == {"bash", *FILE_TOOLS}
