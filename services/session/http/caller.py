"""Who sends a request, as the record of the API key tells it. Pure."""

from typing import Final

import msgspec

from holdfast.session.http.errors import forbidden
from holdfast.session.http.roles import PERMITTED, Access, Role, roles_with


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """The key's tenant, role, id and name."""

    tenant: str
    role: Role
    key_id: str
    key_name: str

    def check(self, access: Access) -> None:
        """Raise ApiError 403 unless the key may do that."""
        if access not in PERMITTED[self.role]:
            raise forbidden(f"a key of the role {self.role} may not do this; roles that may: {_list(access)}")


def _list(access: Access) -> str:
    return ", ".join(roles_with(access))


NOBODY: Final = Caller(tenant="", role="publisher", key_id="", key_name="")
"""The caller on a public route, which looks at no key."""
