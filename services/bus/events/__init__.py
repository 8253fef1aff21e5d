"""The events of a session: one frozen struct each, in one tagged union. Pure.

Field names and types are those of the wire (SDK `types/beta/sessions`), so that an event is stored as it is shown.
Fields that the wire does not have begin with `_` in JSON, and such types with `holdfast.`: the edge shows neither.
`processed_at` is not stored: it is the time of the commit plus the index of the event, in microseconds.
Blocks, tool inputs and agents stay plain JSON objects; the edge has validated them before they are stored.

A new event type is one class in the module of its family, and one line in `AnyEvent`.
"""

# ruff: noqa: F403, F405  the families are imported whole, so that a new class needs no line here but that in the union
from holdfast.bus.events.agent import *
from holdfast.bus.events.base import *
from holdfast.bus.events.client import *
from holdfast.bus.events.internal import *
from holdfast.bus.events.session import *
from holdfast.bus.events.span import *

AnyEvent = (
    UserMessage
    | UserInterrupt
    | UserToolConfirmation
    | UserCustomToolResult
    | AgentMessage
    | AgentThinking
    | AgentToolUse
    | AgentCustomToolUse
    | AgentToolResult
    | AgentContextCompacted
    | SessionStatusRunning
    | SessionStatusIdle
    | SessionStatusRescheduled
    | SessionStatusTerminated
    | SessionError
    | SessionUpdated
    | SessionUsage
    | SessionDeleted
    | ThreadStatusRunning
    | ThreadStatusIdle
    | ThreadStatusRescheduled
    | ThreadStatusTerminated
    | ModelRequestStart
    | ModelRequestEnd
    | SessionConfig
    | HandBound
    | HandLost
    | SessionErased
    | Blob
    | Unknown
)
