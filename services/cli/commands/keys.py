"""`holdfast keys`: make, list and revoke API keys, and see who did."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from holdfast.cli.exit_codes import USAGE
from holdfast.cli.failure import tell


def keys(
    action: Literal["list", "create", "revoke", "audit"] = "list",
    *names: str,
    role: Literal["admin", "tenant", "read-only", "publisher"] = "tenant",
    tenant: str = "",
    all_: Annotated[bool, Parameter(name="--all", negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
    data: Path | None = None,
) -> int:
    """List, make or revoke the API keys of all tenants. It needs an admin key, as that of a stack here is.

    A key belongs to one tenant and has one role. tenant: everything in its tenant. read-only: reads, and changes
    nothing. publisher: sends messages to sessions, and reads nothing. admin: as tenant, and makes and revokes the keys
    of all tenants. In a pipe a line of the list has these values with tabs between them: id, role, tenant, created,
    revoked, name.

    For example:

        KEY=$(holdfast keys create "nightly job" --role publisher)

        holdfast keys create "the console of acme" --role read-only --tenant acme

        holdfast keys revoke apikey_01k…

    Exit codes: 0 done, 1 the API refused, 2 no running stack, or a mistake in the command line.

    Parameters
    ----------
    action
        list: keys that work, a line each. create: make one, and print it; nothing shows it again. revoke: refuse it
        from now on, for good. audit: who made and revoked which key, the newest first.
    names
        create: a name for the key, for people. revoke: ids from the list.
    role
        What the new key may do. Default: tenant.
    tenant
        Tenant of the new key; one that is new begins to exist with it. Of a list: that of the keys shown. Default: the
        tenant of your own key; a list has all.
    all_
        List the revoked keys too.
    json
        One JSON object a line.
    data
        Folder of the stack. Default: HOLDFAST_DATA, else .holdfast here, else your only running stack.
    """
    if action == "create" and len(names) != 1:
        tell("keys", 'give the new key one name: holdfast keys create "nightly job"')
        return USAGE
    if action == "revoke" and not names:
        tell("keys", "name what to revoke; holdfast keys lists the ids")
        return USAGE
    if action in ("list", "audit") and names:
        tell("keys", f"{action} takes no name")
        return USAGE
    from holdfast.cli.client import keys as work  # noqa: PLC0415  not for a help text: the import takes long
    from holdfast.cli.client.api_command import run_api_command  # noqa: PLC0415

    options = work.KeyOptions(role=role.replace("-", "_"), tenant=tenant, with_revoked=all_, as_json=json)
    return run_api_command("keys", data, lambda target: work.carry_out(target, action, names, options))
