"""Roles of API keys, and what each of them may do. Pure.

A route says what it needs (`Route.access`). Nothing else decides: no handler asks for a role, but for the one that
narrows what a publisher may send.
"""

from typing import Final, Literal, get_args

Role = Literal["admin", "tenant", "read_only", "publisher"]

Access = Literal["read", "write", "publish", "administer"]
"""`read` changes nothing. `publish` brings work in: events for a session. `write` is any other change in the tenant.
`administer` reaches beyond the tenant: keys of all tenants, and the record of who made them."""

ROLES: Final[tuple[Role, ...]] = get_args(Role)

PERMITTED: Final[dict[Role, frozenset[Access]]] = {
    "admin": frozenset({"read", "write", "publish", "administer"}),
    "tenant": frozenset({"read", "write", "publish"}),
    "read_only": frozenset({"read"}),
    "publisher": frozenset({"publish"}),
}

NARROWED: Final[frozenset[Role]] = frozenset(role for role in ROLES if PERMITTED[role] < PERMITTED["tenant"])
"""Roles with less than everything in their tenant. Versions before roles gave every key that."""


def roles_with(access: Access) -> list[Role]:
    """The roles that may do it, the most powerful one first."""
    return [role for role in ROLES if access in PERMITTED[role]]
