"""Large bodies are decoded beside the event loop."""

import asyncio
from typing import Any

import msgspec
import pytest

from holdfast.session.http.errors import ApiError
from holdfast.session.http.json_body import ON_LOOP_BYTES, decode_body

LARGE = msgspec.json.encode({"items": [{"a": ["x", number]} for number in range(50_000)]})


async def test_other_tasks_run_while_a_large_body_is_checked() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await asyncio.sleep(0)
    before = turns
    decoded = await decode_body(LARGE, dict[str, Any])
    counting.cancel()
    assert len(decoded["items"]) == 50_000
    assert turns > before, "the loop stood still"


@pytest.mark.parametrize("filler", [0, ON_LOOP_BYTES], ids=["small", "large"])
@pytest.mark.parametrize("fault", ['"\\u0000"', "[" * 200 + "]" * 200, "1e", '"\ud800"'])
async def test_the_faults_of_a_body_are_told_at_any_size(fault: str, filler: int) -> None:
    raw = f'{{"filler":"{"x" * filler}","a":{fault}}}'.encode("utf-8", "surrogatepass")
    with pytest.raises(ApiError) as caught:
        await decode_body(raw, dict[str, Any])
    assert caught.value.status == 400
