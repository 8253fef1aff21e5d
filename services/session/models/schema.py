"""The shapes of models in answers, and the order and pages of their list. Pure.

These lists alone have pages by id (`after_id`, `before_id`), as the API has it.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from holdfast.process.model_facts import Lifecycle, ModelFacts
from holdfast.session.http.errors import invalid
from holdfast.session.http.timestamps import TimeText

UNKNOWN_RELEASE: Final = "1970-01-01T00:00:00Z"
"""`created_at` of a model whose day of release is not known, as the API has it."""

SHOWN: Final[tuple[Lifecycle, ...]] = ("active", "deprecated")
"""What a list shows without `lifecycle`."""


class ListQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most one of `after_id` and `before_id`: the page begins behind that model, or ends before it."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 20
    after_id: str | None = None
    before_id: str | None = None
    lifecycle: Annotated[list[Lifecycle], Meta(max_length=3)] = []


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model. `max_input_tokens`: its context window. `max_tokens`: its longest response."""

    id: str
    type: Literal["model"]
    display_name: str
    created_at: TimeText
    lifecycle: Lifecycle
    deprecated_at: None
    retires_at: None
    line: str | None
    max_input_tokens: int
    max_tokens: int | None
    capabilities: None


class ModelPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of models; the ids are those of its first and last model, null on an empty page."""

    data: list[ModelInfo]
    has_more: bool
    first_id: str | None
    last_id: str | None


def to_api(model: str, facts: ModelFacts) -> ModelInfo:
    """The object that clients see."""
    return ModelInfo(
        id=model,
        type="model",
        display_name=facts.display_name or model,
        created_at=f"{facts.released.isoformat()}T00:00:00Z" if facts.released else UNKNOWN_RELEASE,
        lifecycle=facts.lifecycle,
        deprecated_at=None,
        retires_at=None,
        line=facts.line,
        max_input_tokens=facts.context_window,
        max_tokens=facts.max_output,
        capabilities=None,
    )


def page(models: Sequence[tuple[str, ModelFacts]], query: ListQuery) -> ModelPage:
    """The page of these models that the query asks for. Raises ApiError 400 for a cursor that is no model of them."""
    wanted = query.lifecycle or SHOWN
    shown = [to_api(model, facts) for model, facts in models if facts.lifecycle in wanted]
    if query.after_id is not None and query.before_id is not None:
        raise invalid("before_id: give only one of after_id and before_id")
    begin, end = 0, len(shown)
    if query.after_id is not None:
        begin = _place(shown, query.after_id, "after_id") + 1
    if query.before_id is not None:
        end = _place(shown, query.before_id, "before_id")
        begin = max(0, end - query.limit)
    found = shown[begin : min(end, begin + query.limit)]
    has_more = begin > 0 if query.before_id is not None else begin + len(found) < len(shown)
    first, last = (found[0].id, found[-1].id) if found else (None, None)
    return ModelPage(data=found, has_more=has_more, first_id=first, last_id=last)


def _place(shown: Sequence[Any], model: str, name: str) -> int:
    place = next((place for place, one in enumerate(shown) if one.id == model), None)
    if place is None:
        raise invalid(f"{name}: names no model of this list")
    return place
