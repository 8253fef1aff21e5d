"""Why a request was not carried out. Every text is fixed or names a field: none repeats a value, a path or a token."""


class VaultProblem(Exception):
    """Becomes the `status`, `error` and `message` of a VaultReply."""

    status = 500
    kind = "api_error"


class Invalid(VaultProblem):
    """The request is wrong and stays wrong."""

    status = 400
    kind = "invalid_request_error"


class Missing(VaultProblem):
    """There is no such vault or credential of this tenant."""

    status = 404
    kind = "not_found_error"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} not found")


class Conflict(VaultProblem):
    """Something that must be unique is in use, or the object is archived or was changed at the same time."""

    status = 409
    kind = "invalid_request_error"


class StoreUnavailable(VaultProblem):
    """The secret store is sealed, away, refuses us or is too slow. Trying again is right."""

    status = 503
    kind = "api_error"

    def __init__(self, why: str = "the secret store is not available at the moment") -> None:
        super().__init__(why)


class VersionMismatch(Exception):
    """A check-and-set write found another version; nothing was written. Never leaves the service."""
