"""What a publisher may send."""

import pytest

from holdfast.bus import events as ev
from holdfast.session.events.sender import check_sender
from holdfast.session.http.caller import Caller
from holdfast.session.http.errors import ApiError
from holdfast.session.http.roles import NARROWED, PERMITTED, ROLES, Role

MESSAGE = ev.UserMessage(id="sevt_1", content=[])
DECISIONS = (
    ev.UserInterrupt(id="sevt_2"),
    ev.UserToolConfirmation(id="sevt_3", tool_use_id="sevt_0", result="allow"),
    ev.UserCustomToolResult(id="sevt_4", custom_tool_use_id="sevt_0"),
)


def caller(role: Role) -> Caller:
    return Caller(tenant="t", role=role, key_id="apikey_1", key_name="n")


def test_every_kind_of_event_that_clients_send_is_tried() -> None:
    assert {type(event) for event in (MESSAGE, *DECISIONS)} == set(ev.ClientEvent.__args__)


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_publisher_sends_messages_alone(decision: ev.ClientEvent) -> None:
    check_sender(caller("publisher"), [MESSAGE, MESSAGE])
    check_sender(caller("tenant"), [MESSAGE, decision])
    with pytest.raises(ApiError, match=ev.type_of(decision)) as refused:
        check_sender(caller("publisher"), [MESSAGE, decision])
    assert (refused.value.status, refused.value.kind) == (403, "permission_error")


def test_the_narrowed_roles_are_those_with_less_than_everything_in_a_tenant() -> None:
    assert {"read_only", "publisher"} == NARROWED
    assert set(PERMITTED) == set(ROLES)
