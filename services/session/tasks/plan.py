"""What a task becomes under one version of its binding: everything that is decided before anything is written. Pure."""

import msgspec

from holdfast.session.sessions.schema import MAX_TITLE_CHARS
from holdfast.session.tasks.bindings import Binding
from holdfast.session.tasks.conditions import matches
from holdfast.session.tasks.event import TaskEvent
from holdfast.session.tasks.rejection import Rejected
from holdfast.session.tasks.task_ids import session_key_hash
from holdfast.session.tasks.templates import compile_template, render_message, render_session_key, render_title


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`key`: hash of the session key; empty: a session of its own."""

    binding: Binding
    message: str
    title: str | None
    key: str


def working(binding: Binding | None) -> Binding | Rejected:
    """The binding; or why it does nothing: there is none, or it is archived."""
    if binding and binding.archived_at is None:
        return binding
    cause = "is archived" if binding else "is missing"
    return Rejected("unbound", f"the binding of this kind {cause}; create it: POST /v1/bindings")


def wants(binding: Binding, event: TaskEvent) -> bool:
    """Whether the binding wants the task."""
    return matches(binding.config.when, event)


def plan(binding: Binding, event: TaskEvent) -> Plan:
    """Raises Rejected if the templates of the binding and the task do not fit together."""
    config = binding.config
    message = render_message(compile_template(config.message), event)
    title, key = None, ""
    if config.title is not None:
        title = render_title(compile_template(config.title), event, max_chars=MAX_TITLE_CHARS) or None
    if config.session_key is not None:
        key = session_key_hash(render_session_key(compile_template(config.session_key), event))
    return Plan(binding=binding, message=message, title=title, key=key)
