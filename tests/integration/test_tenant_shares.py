"""One tenant keeps all the places of a harness busy, and another one asks: with real processes."""

import time
from collections.abc import Generator

import httpx
import pytest
from anthropic import AsyncAnthropic

from tests.support.conversation import Conversation, text
from tests.support.eventually import eventually
from tests.support.model import say
from tests.support.stack import Stack, stack

PLACES, SHARE = 4, 3
ROUNDS = 3
RESPONSE_S = 3.0


@pytest.fixture
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    environ = {"HOLDFAST_SESSIONS": str(PLACES), "HOLDFAST_TENANT_SESSIONS": str(SHARE)}
    with stack(tmp_path_factory.mktemp("stack"), harnesses=1, environ=environ) as running:
        yield running


def key_of(crowded: Stack, tenant: str) -> str:
    """A new key of that tenant."""
    admin = {"x-api-key": crowded.run.api_key}
    body = {"name": tenant, "role": "tenant", "tenant": tenant}
    return httpx.post(f"{crowded.run.base_url}/v1/api_keys", json=body, headers=admin).raise_for_status().json()["key"]


async def test_a_tenant_that_asks_once_does_not_wait_for_one_that_asks_all_the_time(crowded: Stack) -> None:
    url = crowded.run.base_url
    slow = await crowded.model.play({"text": "a b c d e f g h i j", "delay": RESPONSE_S / 10})
    quick = await crowded.model.play(say("At once."))
    async with (
        AsyncAnthropic(base_url=url, api_key=key_of(crowded, "busy")) as busy,
        AsyncAnthropic(base_url=url, api_key=key_of(crowded, "calm")) as calm,
    ):
        crowd = [await Conversation.begin(busy) for _ in range(ROUNDS * SHARE)]
        one = await Conversation.begin(calm)
        began = time.monotonic()
        for conversation in crowd:
            await conversation.say(slow)

        async def is_full() -> bool:
            return len([s async for s in busy.beta.sessions.list(statuses=["running"])]) >= SHARE

        await eventually(is_full, what="the busy tenant has its share", within=20)
        asked = time.monotonic()
        await one.say(quick)
        answered = await one.until_idle(within=60)
        waited = time.monotonic() - asked
        assert [text(event) for event in answered if event.type == "agent.message"] == ["At once."]
        for conversation in crowd:
            await conversation.until_idle(within=60)
        whole = time.monotonic() - began
    print(f"the calm tenant waited {waited:.2f} s, the busy one was served in {whole:.2f} s")  # noqa: T201
    assert waited < whole / 2, "it came before the last rounds of the other, although it asked last"
