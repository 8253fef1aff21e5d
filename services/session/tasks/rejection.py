"""Why a task cannot be carried out, for its publisher, its dead letter and `holdfast tasks`. Pure."""

from typing import Literal

Reason = Literal["malformed", "unbound", "unrenderable", "refused", "internal"]
"""What has to be mended: the task, a missing binding, its templates, its agent or environment, or our code."""


class Rejected(Exception):
    """The task stays wrong until somebody mends something, so it is not tried again by itself.

    `message` names the field or attribute and the rule. It never repeats a value of the task: it is listed and logged.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.message = message


def malformed(message: str) -> Rejected:
    """A mistake of the publisher."""
    return Rejected("malformed", message)


def unrenderable(message: str) -> Rejected:
    """A template of the binding and the task do not fit together."""
    return Rejected("unrenderable", message)
