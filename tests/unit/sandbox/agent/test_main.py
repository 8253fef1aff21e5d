"""The entry point of the agent."""

import pytest

from holdfast.sandbox.agent.main import main


def test_the_agent_refuses_to_run_outside_of_a_sandbox() -> None:
    with pytest.raises(SystemExit, match="in a sandbox only"):
        main()
