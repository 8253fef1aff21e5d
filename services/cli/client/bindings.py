"""Work of `holdfast bindings`: shows and changes bindings over the API."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, cast

import msgspec
from anthropic import AsyncAnthropic

from holdfast.cli.client.errors import CannotDo
from holdfast.cli.client.target import Target
from holdfast.cli.sanitize import clean, clean_line

Action = Literal["list", "show", "create", "update", "archive"]

PATH: Final = "/v1/bindings"


async def carry_out(
    target: Target, action: Action, names: Sequence[str], *, include_archived: bool, as_json: bool
) -> int:
    """Do it, and print the bindings that were shown or changed. Raises CannotDo, and the errors of the SDK."""
    _check(action, names)
    async with target.client() as client:
        match action:
            case "list":
                found = await listed(client, PATH, include_archived=str(include_archived).lower())
            case "show":
                found = [await _get(client, name) for name in names]
            case "create":
                found = [await _post(client, PATH, read_fields(Path(name))) for name in names]
            case "update":
                fields = read_fields(Path(names[1]))
                fields.pop("kind", None)
                found = [await _post(client, f"{PATH}/{names[0]}", fields)]
            case "archive":
                found = [await _post(client, f"{PATH}/{name}/archive", {}) for name in names]
    for one in found:
        if as_json:
            print(msgspec.json.encode(one).decode())
        elif action == "show":
            print(clean(msgspec.json.format(msgspec.json.encode(one), indent=2).decode()))
        else:
            print(_line(one))
    return 0


def _check(action: Action, names: Sequence[str]) -> None:
    wanted = {"show": "a kind", "create": "a file", "update": "a kind and a file", "archive": "a kind"}
    if (action in wanted and not names) or (action == "update" and len(names) != 2):
        raise CannotDo(f"{action}: give {wanted[action]}; holdfast bindings lists the kinds")


def read_fields(path: Path) -> dict[str, Any]:
    """The fields of a binding in a YAML or JSON file. Raises CannotDo."""
    shown = clean_line(str(path))
    try:
        raw = path.read_bytes()
        found: Any = msgspec.json.decode(raw) if path.suffix == ".json" else msgspec.yaml.decode(raw)
    except OSError as exc:
        raise CannotDo(f"cannot read {shown}: {exc.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise CannotDo(f"{shown} is no valid YAML or JSON: {' '.join(str(exc).split())}") from None
    if not isinstance(found, dict):
        raise CannotDo(f"{shown} must hold the fields of a binding: kind, agent, environment_id, message and others")
    return cast("dict[str, Any]", found)


async def listed(client: AsyncAnthropic, path: str, **query: str) -> list[dict[str, Any]]:
    """All objects of a list of the API, page by page."""
    found: list[dict[str, Any]] = []
    page: str | None = None
    while True:
        wanted = {"limit": "100", **query, **({"page": page} if page else {})}
        answer = cast("dict[str, Any]", await client.get(path, cast_to=object, options={"params": wanted}))
        found += answer["data"]
        page = answer["next_page"]
        if not page:
            return found


async def _get(client: AsyncAnthropic, kind: str) -> dict[str, Any]:
    return cast("dict[str, Any]", await client.get(f"{PATH}/{kind}", cast_to=object))


async def _post(client: AsyncAnthropic, path: str, body: dict[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", await client.post(path, cast_to=object, body=body))


def _line(binding: dict[str, Any]) -> str:
    state = "archived" if binding["archived_at"] else f"version {binding['version']}"
    values = (binding["kind"], state, binding["agent"]["id"], binding["environment_id"], binding["message"])
    return "\t".join(clean_line(str(value)) for value in values)
