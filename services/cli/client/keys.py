"""Work of `holdfast keys`: asks the API for API keys, which the SDK has no methods for."""

import json
import sys
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, cast
from urllib.parse import quote

import msgspec
from anthropic import AsyncAnthropic
from rich.console import Console
from rich.table import Table

from holdfast.cli.client.target import Target
from holdfast.cli.sanitize import clean_line

KEYS: Final = "/v1/api_keys"
AUDIT: Final = "/v1/audit_records"

PAGE_OBJECTS: Final = 100

AUDIT_OBJECTS: Final = 200
"""Acts that are shown."""


class KeyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command; an empty `tenant` was not given."""

    role: str
    tenant: str
    with_revoked: bool
    as_json: bool


async def carry_out(target: Target, action: str, names: Sequence[str], options: KeyOptions) -> int:
    """Do it, and return the exit code. Raises the errors of the SDK."""
    async with target.client() as client:
        match action:
            case "create":
                await _create(client, names[0], options)
            case "revoke":
                for key_id in names:
                    await client.post(f"{KEYS}/{quote(key_id, safe='')}/revoke", cast_to=object)
                    print(f"revoked {clean_line(key_id)}")
            case "audit":
                _show_audit([record async for record in _listed(client, AUDIT, {}, most=AUDIT_OBJECTS)], options)
            case _:
                query = {"include_revoked": str(options.with_revoked).lower()}
                query |= {"tenant": options.tenant} if options.tenant else {}
                _show([key async for key in _listed(client, KEYS, query)], options)
    return 0


async def _create(client: AsyncAnthropic, name: str, options: KeyOptions) -> None:
    """Print the new key alone on standard output, for `$(…)`, and what it is on standard error."""
    body = {"name": name, "role": options.role} | ({"tenant": options.tenant} if options.tenant else {})
    made = cast("dict[str, Any]", await client.post(KEYS, cast_to=object, body=body))
    if options.as_json:
        print(json.dumps(made, ensure_ascii=False))
        return
    print(made["key"], flush=True)
    what = f"{made['id']}: role {made['role']}, tenant {clean_line(made['tenant'])}"
    print(f"{what}. Nothing shows this key again.", file=sys.stderr)


async def _listed(
    client: AsyncAnthropic, path: str, query: dict[str, str], *, most: int = sys.maxsize
) -> AsyncGenerator[dict[str, Any]]:
    shown, page = 0, ""
    while True:
        params: dict[str, object] = {**query, "limit": min(PAGE_OBJECTS, most - shown)}
        if page:
            params["page"] = page
        found = cast("dict[str, Any]", await client.get(path, cast_to=object, options={"params": params}))
        for one in found["data"]:
            yield one
        shown += len(found["data"])
        page = found["next_page"]
        if not page or shown >= most:
            return


def _show(keys: list[dict[str, Any]], options: KeyOptions) -> None:
    columns = ("id", "role", "tenant", "created_at", "revoked_at", "name")
    _print(keys, columns, ("id", "role", "tenant", "created", "revoked", "name"), options)


def _show_audit(records: list[dict[str, Any]], options: KeyOptions) -> None:
    rows = [record | {"what": ", ".join(f"{k} {v}" for k, v in record["details"].items())} for record in records]
    columns = ("created_at", "action", "object_id", "what", "api_key_id", "api_key_name")
    _print(records if options.as_json else rows, columns, ("at", "act", "key", "what", "by", "name of that"), options)


def _print(rows: list[dict[str, Any]], columns: Sequence[str], titles: Sequence[str], options: KeyOptions) -> None:
    """A table on a terminal, lines with tabs in a pipe, or JSON objects."""
    if options.as_json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
        return
    cells = [[clean_line(str(row[column] or "")) for column in columns] for row in rows]
    if not sys.stdout.isatty():
        for line in cells:
            print("\t".join(line))
    elif rows:
        table = Table(*titles, box=None, pad_edge=False)
        for line in cells:
            table.add_row(*line)
        Console(highlight=False, markup=False).print(table)
