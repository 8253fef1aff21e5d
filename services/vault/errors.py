"""Why a request was refused. A text is fixed or names a field; it never repeats a value, a path or a token. Pure.

VaultProblem          becomes a VaultReply; `status`, `kind` and the text go to the caller
  Invalid             400
  Missing             404
  Conflict            409
  StoreUnavailable    503
  NewerDocument       503
VersionMismatch       a check-and-set found another version; the service tries again
"""


class VaultProblem(Exception):
    """A refusal: becomes the `status`, `error` and `message` of a VaultReply."""

    status = 500
    kind = "api_error"


class Invalid(VaultProblem):
    """The request is wrong; the same request is refused again."""

    status = 400
    kind = "invalid_request_error"


class Missing(VaultProblem):
    """The tenant has no such vault or credential."""

    status = 404
    kind = "not_found_error"

    def __init__(self, kind: str) -> None:
        super().__init__(f"{kind} not found")


class Conflict(VaultProblem):
    """What is there does not allow it: another credential has the same unique key, too many secrets are valid."""

    status = 409
    kind = "invalid_request_error"


class StoreUnavailable(VaultProblem):
    """The secret store is sealed, does not answer, refuses the login or is too slow. The caller may try again."""

    status = 503
    kind = "api_error"

    def __init__(self, why: str = "the secret store is not available at the moment") -> None:
        super().__init__(why)


class NewerDocument(VaultProblem):
    """The vault or credential was written by a newer version of this service. The caller may try again."""

    status = 503
    kind = "api_error"

    def __init__(self) -> None:
        super().__init__("written by a newer version of Holdfast; try again when the upgrade is done")


class VersionMismatch(Exception):
    """A check-and-set write found another version and wrote nothing. Never becomes an answer."""
