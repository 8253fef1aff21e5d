"""The edge and the vault service know the same kinds of credentials."""

import typing

import msgspec

from holdfast.session.vaults import schema
from holdfast.vault import kinds


def tags(struct: type[msgspec.Struct], unwanted: tuple[str, ...] = ()) -> set[str]:
    """The values of `auth.type` that a body may have."""
    members = typing.get_args(typing.get_type_hints(struct)["auth"])
    found = {str(kind.__struct_config__.tag) for kind in members if kind is not msgspec.UnsetType}
    return found - set(unwanted)


def test_each_kind_of_the_vault_service_is_accepted_and_each_unavailable_one_is_decoded_to_be_refused() -> None:
    for body in (schema.CredentialCreate, schema.CredentialUpdate):
        assert tags(body) == {*kinds.KINDS, *kinds.UNAVAILABLE_KINDS}
    refused = {str(kind.__struct_config__.tag) for kind in typing.get_args(schema.UnavailableAuth)}
    assert refused == set(kinds.UNAVAILABLE_KINDS)
    assert tags(schema.CredentialCreate, kinds.UNAVAILABLE_KINDS) == {schema.StaticBearerObject.__struct_config__.tag}
