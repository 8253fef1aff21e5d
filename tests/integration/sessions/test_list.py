"""Lists of sessions through the official SDK: filters, order, pages in both directions.

On the real session service and a real log; no harness runs.
"""

from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic

from holdfast.bus.jetstream.client import NatsBus
from tests.support.edge import SessionService
from tests.support.eventually import eventually
from tests.support.session_log import SessionLog


async def test_lists_filter_order_and_lead_both_ways(client: AsyncAnthropic, bus: NatsBus, environment: str) -> None:
    agent = await client.beta.agents.create(model="m-1", name="l")
    made = [
        (await client.beta.sessions.create(agent=agent.id, environment_id=environment, title=str(n))) for n in range(7)
    ]
    ids = [s.id for s in made]
    await SessionLog(bus, ids[2]).running()
    await client.beta.sessions.archive(ids[5])

    async def found(**filters: Any) -> list[str]:
        return [s.id async for s in client.beta.sessions.list(agent_id=agent.id, **filters)]

    async def is_listed_as_running() -> bool:
        return await found(statuses=["running"]) == [ids[2]]

    await eventually(is_listed_as_running)
    assert await found(order="asc") == [i for i in ids if i != ids[5]]
    assert await found() == [i for i in reversed(ids) if i != ids[5]]
    assert await found(include_archived=True, limit=2) == ids[::-1]
    assert await found(statuses=["running", "idle"], order="asc", limit=3) == [i for i in ids if i != ids[5]]
    assert await found(statuses=["terminated"]) == [ids[5]]
    assert await found(statuses=["rescheduling"]) == []
    at = made[3].created_at
    assert await found(created_at_gt=at, order="asc") == [ids[4], ids[6]]
    assert await found(created_at_gte=at, order="asc") == [ids[3], ids[4], ids[6]]
    assert await found(created_at_lt=at, order="asc") == ids[:3]
    assert await found(created_at_lte=at, created_at_gt=made[1].created_at) == [ids[3], ids[2]]
    assert await found(agent_version=1, limit=1) == await found()
    assert await found(agent_version=2) == []

    for order in ("asc", "desc"):
        whole = await found(order=order, include_archived=True)
        first = await client.beta.sessions.list(agent_id=agent.id, order=order, include_archived=True, limit=3)  # type: ignore[arg-type]
        assert [s.id for s in first.data] == whole[:3]
        assert first.prev_page is None
        same: dict[str, Any] = {"agent_id": agent.id, "order": order, "include_archived": True, "limit": 3}
        second = await client.beta.sessions.list(page=first.next_page or "", **same)
        assert [s.id for s in second.data] == whole[3:6]
        third = await client.beta.sessions.list(page=second.next_page or "", **same)
        assert [s.id for s in third.data] == whole[6:]
        assert third.next_page is None
        back = await client.beta.sessions.list(page=third.prev_page or "", **same)
        assert [s.id for s in back.data] == whole[3:6], "going back keeps the order"
        again = await client.beta.sessions.list(page=back.prev_page or "", **same)
        assert [s.id for s in again.data] == whole[:3]
        assert again.prev_page is None
        onwards = await client.beta.sessions.list(page=again.next_page or "", **same)
        assert [s.id for s in onwards.data] == whole[3:6]
        with pytest.raises(anthropic.BadRequestError, match="page"):
            await client.beta.sessions.list(
                page=first.next_page or "", **{**same, "order": "desc" if order == "asc" else "asc"}
            )
        with pytest.raises(anthropic.BadRequestError, match="page"):
            await client.beta.sessions.list(page=first.next_page or "", **{**same, "agent_id": "agent_2"})


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=101", "limit=x", "order=up", "statuses[]=done", "page=page_1", "page=x",
        "created_at[gte]=soon", "agent_version=x", "unknown=1",
        "deployment_id=depl_1", "memory_store_id=memstore_1", "include_archived=maybe",
    ],
)  # fmt: skip
def test_a_wrong_filter_is_refused(edge: SessionService, query: str) -> None:
    with edge.http() as http:
        answer = http.get(f"/v1/sessions?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_filters_are_taken_with_and_without_brackets(edge: SessionService) -> None:
    with edge.http() as http:
        for query in ("statuses=idle&statuses=running", "statuses[]=idle&statuses[]=running", "beta=true"):
            assert http.get(f"/v1/sessions?{query}").status_code == 200
