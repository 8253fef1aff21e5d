"""Long logs, written as the harness writes them, without a model and without its waiting.

The events come from the harness's own pure modules (`ingest`, `to_events`, `idle`), grouped into the commits it makes:
the claim with its inputs and the start of the first request; each response; each result with the start of the request
that follows; the last response; the release. The context is folded by the harness's own code, summarised when it is
full, and stored as a snapshot by the harness's own rule. What differs: no model was asked, and the texts are made up.
"""

from msgspec import UNSET

from holdfast.bus import events as ev
from holdfast.bus import subjects
from holdfast.bus.commits import Stored, commit
from holdfast.bus.head import PRIMARY_THREAD, Claim
from holdfast.bus.ids import Key, new_id
from holdfast.bus.inputs import NOTHING_TAKEN, CallResult, ClientInput, PendingInput
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.tools import SANDBOX
from holdfast.harness.conversation.context import Contexts
from holdfast.harness.models.interface import Response
from holdfast.harness.models.to_events import ResponseEvents
from holdfast.harness.settings import HarnessSettings
from holdfast.harness.turn.idle import idle
from holdfast.harness.turn.ingest import ingest
from holdfast.process.clock import now

TURN = 10
"""Tool calls of a turn."""

SAID = "I look at the next part of the module and check how its callers use the value it returns. " * 2
COMMAND = "grep -rn 'def load' --include='*.py' src | head -20 && sed -n 1,40p src/settings.py"
PRINTED = "src/settings.py:12:def load(kind, environ=None):  # read once from the environment\n" * 9
"""About what an agent at work says and reads in a step: 1,100 characters."""

CONTEXT_TOKENS = 160_000
"""Size of the context at which it is summarised."""


class History:
    """Appends turns to the log of one session that nobody else writes to."""

    def __init__(self, bus: NatsBus, key: Key, last: Stored, config: ev.SessionConfig) -> None:
        self._bus = bus
        self._key = key
        self._last = last
        self._config = config
        self._settings = HarnessSettings()
        self._contexts = Contexts()
        self._characters = 0
        """Of the context, roughly: what a model would count."""

    @classmethod
    async def open(cls, bus: NatsBus, key: Key) -> "History":
        """Go on behind what the log holds."""
        log = await bus.log.read(key)
        config = next(e for stored in log for e in stored.commit.events if isinstance(e, ev.SessionConfig))
        made = cls(bus, key, log[-1], config)
        for stored in log:
            made._contexts.fold(stored)
        return made

    @property
    def seq(self) -> int:
        return self._last.seq

    @property
    def count(self) -> int:
        return self._last.commit.head.count

    async def _append(self, events: list[ev.Event], *, claim: Claim | object | None = UNSET) -> None:
        made = commit(self._last, events, by="harness-bench", new_id=new_id, now=now(), claim=claim)  # type: ignore[arg-type]
        self._last = Stored(await self._bus.log.append(self._key, made, self._last.seq), made)
        self._contexts.fold(self._last)

    async def _snapshot(self, every: int) -> None:
        """The rule of `harness/conversation/snapshot.py`."""
        if self._contexts.count - self._contexts.snapshot_count >= every:
            await self._bus.kv.put("snap", subjects.snapshot_key(self._key), self._contexts.snapshot())
            self._contexts.snapshot_count = self._contexts.count

    def _answer(self, text: str, *calls: dict[str, object], stop: str = "end_turn") -> Response:
        self._characters += len(text) + 200
        usage = ev.ModelUsage(input_tokens=self._characters // 4, output_tokens=len(text) // 4)
        return Response([{"type": "text", "text": text}, *calls], stop, usage)

    async def _ask(self, events: list[ev.Event], *, claim: Claim | object = UNSET) -> str:
        """Append with the start of a model request, whose id is returned; summarise first when the context is full."""
        await self._snapshot(self._settings.snapshot_every * 5)
        if self._characters // 4 > CONTEXT_TOKENS:
            await self._append(events, claim=claim)
            await self.compact()
            events, claim = [], UNSET
        span = ev.ModelRequestStart(id=new_id("sevt"))
        await self._append([*events, span], claim=claim)
        return span.id

    async def compact(self) -> None:
        """A summary takes the place of the history."""
        span = ev.ModelRequestStart(id=new_id("sevt"), purpose="compaction")
        await self._append([span])
        usage = ev.ModelUsage(input_tokens=self._characters // 4, output_tokens=500)
        end = ev.ModelRequestEnd(
            id=new_id("sevt"), model_request_start_id=span.id, model_usage=usage, stop="compaction"
        )
        self._characters = len(SAID) * 10
        await self._append([end, ev.AgentContextCompacted(id=new_id("sevt"), summary=SAID * 10)])

    async def turn(self, *, steps: int = TURN, compacted: bool = False) -> None:
        """A message of the user, `steps` tool calls, an answer, rest; `compacted`: the summary comes first."""
        claim = Claim(id=new_id("clm"), by="harness-bench", trigger=1)
        said = ClientInput(
            id=new_id("inp"), events=[ev.UserMessage(id=new_id("sevt"), content=[{"type": "text", "text": SAID}])]
        )
        events = ingest(
            self._last.commit.head, self._config, [PendingInput(1, b"", said)], NOTHING_TAKEN, new_id=new_id
        ).events
        if compacted:
            await self._append(events, claim=claim)
            await self.compact()
            events = []
        request = await self._ask(events, claim=claim)
        for _ in range(steps):
            request = await self._step(request)
        await self._append(self._events(self._answer(SAID), request))
        stop = ev.StopReason("end_turn")
        resting = idle(self._last.commit.head, self._config, stop, now=now(), thread=PRIMARY_THREAD, new_id=new_id)
        await self._append(resting, claim=None)
        await self._snapshot(self._settings.snapshot_every)

    def _events(self, answer: Response, request: str) -> list[ev.Event]:
        made = ResponseEvents(request=request, ids={}, thread=PRIMARY_THREAD, new_id=new_id)
        return made.response(answer, self._config.agent)

    async def _step(self, request: str) -> str:
        call = {"type": "tool_use", "id": new_id("toolu"), "name": "bash", "input": {"command": COMMAND}}
        await self._append(self._events(self._answer(SAID, call, stop="tool_use"), request))
        if not self._last.commit.head.hands:
            await self._append(
                [ev.HandBound(hand=SANDBOX, id=new_id("sevt"), generation=new_id("sbx"), worker=new_id("wrk"))]
            )
        open_call = self._last.commit.head.calls[0]
        result = CallResult(
            id=open_call.id, generation=open_call.generation, content=[{"type": "text", "text": PRINTED}]
        )
        self._characters += len(PRINTED)
        inputs = [PendingInput(1, b"", result, "res")]
        taken = ingest(self._last.commit.head, self._config, inputs, NOTHING_TAKEN, new_id=new_id)
        return await self._ask(taken.events)

    async def grow(self, events: int, *, context: int) -> None:
        """Append turns until the log has about `events`, the last `context` of them since a summary."""
        while self.count < events - context:
            await self.turn()
        compacted = self.count > context
        while self.count < events:
            await self.turn(compacted=compacted)
            compacted = False
