"""The cells that a session service serves, and the addresses that it listens on."""

import pytest

from holdfast.process.settings import BadSettings, load
from holdfast.session.settings import SessionSettings


def test_the_first_cell_is_that_of_new_sessions_and_none_is_named_twice() -> None:
    assert load(SessionSettings, {}).cells == ("a0",)
    assert load(SessionSettings, {"HOLDFAST_CELL": "a1", "HOLDFAST_OTHER_CELLS": "a0,a1,b"}).cells == ("a1", "a0", "b")
    assert load(SessionSettings, {"HOLDFAST_OTHER_CELLS": ""}).cells == ("a0",)


@pytest.mark.parametrize("text", ["a1,", ",a1", "a1, a2", "A1", "a1;a2", "a.>", "123456789", "*"])
def test_what_is_no_list_of_cells_is_refused(text: str) -> None:
    with pytest.raises(BadSettings, match="HOLDFAST_OTHER_CELLS"):
        load(SessionSettings, {"HOLDFAST_OTHER_CELLS": text})


@pytest.mark.parametrize("name", ["HOLDFAST_HOST", "HOLDFAST_HEALTH_HOST"])
def test_an_empty_address_is_refused_since_it_would_mean_every_address(name: str) -> None:
    with pytest.raises(BadSettings, match=name):
        load(SessionSettings, {name: ""})
