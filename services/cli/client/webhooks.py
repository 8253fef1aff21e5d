"""Work of `holdfast webhooks`: shows and changes webhooks over the API."""

from collections.abc import Sequence
from typing import Any, Final, Literal, cast

import msgspec
from anthropic import AsyncAnthropic

from holdfast.cli.client.errors import CannotDo
from holdfast.cli.client.target import Target
from holdfast.cli.exit_codes import FAILED
from holdfast.cli.sanitize import clean, clean_line

Action = Literal["list", "show", "create", "enable", "disable", "skip", "deliveries", "test", "rotate", "delete"]

PATH: Final = "/v1/webhooks"

ALL_EVENTS: Final = (
    "session.status_run_started", "session.status_idled", "session.requires_action", "session.status_rescheduled",
    "session.status_terminated", "session.updated", "session.deleted",
)  # fmt: skip
"""What `create` asks for without `--events`."""

_NEEDED: Final[dict[Action, tuple[int, str]]] = {
    "show": (1, "the id of a webhook"),
    "create": (1, "the address of an endpoint"),
    "enable": (1, "the id of a webhook"),
    "disable": (1, "the id of a webhook"),
    "skip": (2, "the id of a webhook, and that of the event to leave out"),
    "deliveries": (1, "the id of a webhook"),
    "test": (1, "the id of a webhook"),
    "rotate": (1, "the id of a webhook"),
    "delete": (1, "the id of a webhook"),
}

Object = dict[str, Any]


async def carry_out(
    target: Target,
    action: Action,
    names: Sequence[str],
    *,
    events: str,
    description: str,
    overlap_s: int,
    as_json: bool,
) -> int:
    """Do it and print what the API has answered. Raises CannotDo, and the errors of the SDK."""
    count, what = _NEEDED.get(action, (0, ""))
    if len(names) != count:
        raise CannotDo(f"{action}: give {what}; holdfast webhooks lists the ids" if what else "list takes no names")
    asked = [one.strip() for one in events.split(",") if one.strip()] or list(ALL_EVENTS)
    async with target.client() as client:
        match action:
            case "list":
                found = await _listed(client, PATH)
            case "create":
                body = {"url": names[0], "events": asked, "description": description or None}
                found = [await _post(client, PATH, body)]
            case "rotate":
                found = [await _post(client, f"{PATH}/{names[0]}/rotate_secret", {"overlap_seconds": overlap_s})]
            case _:
                found = await _of_one(client, action, f"{PATH}/{names[0]}", names)
    for one in found:
        print(_text(one, action, as_json=as_json))
    return FAILED if action == "test" and found[0]["error"] else 0


async def _of_one(client: AsyncAnthropic, action: Action, path: str, names: Sequence[str]) -> list[Object]:
    """Do it with the webhook of that path."""
    match action:
        case "enable" | "disable":
            return [await _post(client, path, {"enabled": action == "enable"})]
        case "skip":
            return [await _post(client, path, {"skip_event_id": names[1]})]
        case "test":
            return [await _post(client, f"{path}/test", None)]
        case "deliveries":
            return await _listed(client, f"{path}/deliveries")
        case "delete":
            return [cast("Object", await client.delete(path, cast_to=object))]
        case _:
            return [cast("Object", await client.get(path, cast_to=object))]


async def _listed(client: AsyncAnthropic, path: str) -> list[Object]:
    """All objects of a list, page by page."""
    found: list[Object] = []
    page: str | None = None
    while True:
        query = {"limit": "100", **({"page": page} if page else {})} if path == PATH else {}
        answer = cast("Object", await client.get(path, cast_to=object, options={"params": query}))
        found += answer["data"]
        page = answer["next_page"]
        if not page:
            return found


async def _post(client: AsyncAnthropic, path: str, body: Object | None) -> Object:
    return cast("Object", await client.post(path, cast_to=object, body=body))


def _text(one: Object, action: Action, *, as_json: bool) -> str:
    """What is printed of an object of the API."""
    if as_json:
        return msgspec.json.encode(one).decode()
    match action:
        case "show":
            return clean(msgspec.json.format(msgspec.json.encode(one), indent=2).decode())
        case "create" | "rotate":
            return _joined(*(one[name] for name in ("id", "secret", "earlier_valid_until") if name in one))
        case "delete":
            return f"deleted {clean_line(one['id'])}"
        case "deliveries" | "test":
            return _joined(
                one["event_id"], one["event_type"], one["session_id"], one["status"], one["attempts"],
                one["attempted_at"], one["error"],
            )  # fmt: skip
        case _:
            disabled: Object = one["disabled"] or {}
            wrong = disabled.get("error") or "; ".join(each["error"] for each in one["failing"])
            return _joined(one["id"], one["status"], ",".join(one["events"]), one["url"], wrong)


def _joined(*values: object) -> str:
    return "\t".join(clean_line(str("" if value is None else value)) for value in values)
