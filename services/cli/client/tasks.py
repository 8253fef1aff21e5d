"""Work of `holdfast tasks`: shows tasks that could not be carried out, and sends them again, over the API."""

from collections.abc import Sequence
from typing import Any, Final, Literal, cast

import msgspec

from holdfast.cli.client.bindings import listed
from holdfast.cli.client.errors import CannotDo
from holdfast.cli.client.target import Target
from holdfast.cli.sanitize import clean_line

Action = Literal["list", "show", "resend"]

PATH: Final = "/v1/tasks"


async def carry_out(target: Target, action: Action, ids: Sequence[str], *, as_json: bool) -> int:
    """Do it, and print the tasks. Raises CannotDo, and the errors of the SDK."""
    if action != "list" and not ids:
        raise CannotDo(f"name what to {action}; holdfast tasks lists the ids")
    async with target.client() as client:
        if action == "list":
            found = await listed(client, PATH)
        elif action == "show":
            found = [cast("dict[str, Any]", await client.get(f"{PATH}/{one}", cast_to=object)) for one in ids]
        else:
            for one in ids:
                sent = await client.post(f"{PATH}/{one}/resend", cast_to=object)
                print(msgspec.json.encode(sent).decode() if as_json else f"sent again {clean_line(one)}")
            return 0
    for task in found:
        print(msgspec.json.encode(task).decode() if as_json else _line(task, action))
    return 0


def _line(task: dict[str, Any], action: Action) -> str:
    if action == "show":
        values = (task["id"], task["kind"], task["state"], task["session_id"], task["reason"], task["message"])
    else:
        values = (task["id"], task["kind"], task["died_at"], task["reason"], task["message"])
    return "\t".join(clean_line(str(value or "")) for value in values)
