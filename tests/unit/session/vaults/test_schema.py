"""The edge takes the kinds of credentials of the catalogue."""

import msgspec
import pytest

from holdfast.bus import credentials
from holdfast.session.vaults.schema import CredentialCreate, CredentialUpdate

URL = "https://mcp.example.com"


@pytest.mark.parametrize("body", [CredentialCreate, CredentialUpdate])
@pytest.mark.parametrize("kind", credentials.UNAVAILABLE)
def test_a_kind_that_is_not_available_is_decoded_so_that_it_can_be_refused_by_name(kind: str, body: type) -> None:
    given = msgspec.convert({"auth": {"type": kind, "whatever": 1}}, body)
    assert credentials.name_of(given.auth) == kind


@pytest.mark.parametrize("body", [CredentialCreate, CredentialUpdate])
def test_other_kinds_and_other_fields_are_refused(body: type) -> None:
    auth = {"type": "static_bearer", "mcp_server_url": URL, "token": "t"}
    assert credentials.name_of(msgspec.convert({"auth": auth}, body).auth) == "static_bearer"
    for wrong in ({"type": "toy"}, {"other": "x"}, {"token": ""}, {"mcp_server_url": "h" * 2049}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"auth": {**auth, **wrong}}, body)
