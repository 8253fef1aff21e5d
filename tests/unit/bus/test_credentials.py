"""The catalogue of the kinds of credentials."""

import pytest

from holdfast.bus.credentials import AVAILABLE, KINDS, UNAVAILABLE, CredentialKind, name_of


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_shapes_of_a_kind_have_one_name(kind: CredentialKind) -> None:
    assert {name_of(shape) for shape in (kind.create, kind.update, kind.shown) if shape} == {kind.name}


def test_each_kind_is_listed_once() -> None:
    names = [*AVAILABLE, *UNAVAILABLE]
    assert len(set(names)) == len(names) == len(KINDS)
    assert "static_bearer" in AVAILABLE


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.shown], ids=lambda kind: kind.name)
def test_what_is_shown_of_a_credential_has_no_field_that_is_only_in_requests(kind: CredentialKind) -> None:
    assert kind.shown
    assert set(kind.shown.__struct_fields__) < set(kind.create.__struct_fields__)
