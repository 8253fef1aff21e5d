"""The contract of a hand: of the sandbox as it is shipped, and of a clock, which is made for this test only."""

from holdfast.testing.contracts.hands import *  # noqa: F403
