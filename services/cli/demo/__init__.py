"""`holdfast demo`: an agent makes a failing test pass while the process that drives it is killed."""

from typing import Final

HELP: Final = """\
Watch an agent repair a small program while the process that drives it is killed.

Starts the whole system on this machine. With HOLDFAST_MODEL_API_KEY (and HOLDFAST_MODEL_BASE_URL), or else with
ANTHROPIC_API_KEY (and ANTHROPIC_BASE_URL), a real model does the work; without a key a scripted one, at no cost.

For example:

    holdfast demo

    HOLDFAST_MODEL_API_KEY=sk-ant-... holdfast demo

Exit codes: 0 passed, 1 anything was lost, done twice or left undone, or it could not start, 130 interrupted.
"""
"""The text of `--help`. It stands here, because the command itself is imported only when it runs."""
