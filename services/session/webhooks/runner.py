"""Delivers the webhook events of one cell to one endpoint: one by one, in order, each until it is taken (rule 36)."""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from holdfast.bus.api import PublicReads
from holdfast.bus.public_events import PublicState
from holdfast.process.backoff import Backoff
from holdfast.process.faults import point
from holdfast.session.http.errors import ApiError
from holdfast.session.webhooks.attempt import Attempts
from holdfast.session.webhooks.hooks import Hook, body_of, hooks_of
from holdfast.session.webhooks.progress import (
    ALL_PARTS,
    SECOND_US,
    Outcome,
    Progress,
    delivered,
    failed,
    on_stream,
    passed,
    skipped,
)
from holdfast.session.webhooks.store import Webhook, WebhookStore

IDLE_INTERVAL_S: Final = 5.0
"""Longest wait before the stream and the webhook are looked at again: a replica of the stream may have lagged."""

MAX_UNSAVED: Final = 500
"""Events that the endpoint is not told of, after which the progress is stored."""

_log = structlog.get_logger()


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """`backoff`: pauses between attempts. `disable_after_s`: seconds of failure after which a webhook is disabled."""

    backoff: Backoff
    disable_after_s: float


class Runner:
    """Of one webhook in one cell. `state` is the stream as it is; `now` the clock, in microseconds since 1970."""

    def __init__(
        self,
        reads: PublicReads,
        store: WebhookStore,
        attempts: Attempts,
        *,
        rules: Rules,
        now: Callable[[], int],
        cell: str,
        tenant: str,
        webhook_id: str,
        state: PublicState,
    ) -> None:
        self._reads = reads
        self._store = store
        self._attempts = attempts
        self._rules = rules
        self._now = now
        self._cell = cell
        self._tenant = tenant
        self._id = webhook_id
        self._state = state
        self._wakeup = asyncio.Event()
        self._hooks: deque[Hook] = deque()
        """Events that were read and are not delivered yet."""
        self._read_seq = 0
        self._revision = 0
        self._unsaved = 0

    def wake(self, state: PublicState) -> None:
        """The stream or the webhook has changed."""
        self._state = state
        self._wakeup.set()

    async def run(self) -> None:
        """Deliver until cancelled; return when the webhook is deleted.

        Raises ApiError if the vault service does not sign, BusError, and Conflict if another replica delivers.
        """
        progress = await self._load()
        while True:
            self._wakeup.clear()
            try:
                webhook = await self._store.objects.cached(self._tenant, self._id)
            except ApiError:
                return
            progress, pause_s = await self._step(webhook, self._on_stream(progress))
            if pause_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._wakeup.wait()

    async def _load(self) -> Progress:
        """Where the last runner was; of a cell that was added since the webhook was made, the end of its stream."""
        self._hooks.clear()
        found = await self._store.progress(self._tenant, self._id, self._cell)
        if found is None:
            now = self._state
            found = Progress(created=now.created, seq=now.last_seq, epoch="", commit=0, index=0, part=ALL_PARTS), 0
        progress, self._revision = found
        self._read_seq = progress.seq
        return progress

    def _on_stream(self, progress: Progress) -> Progress:
        after = on_stream(progress, self._state)
        if after is not progress:
            self._hooks.clear()
            self._read_seq = after.seq
        return after

    async def _step(self, webhook: Webhook, progress: Progress) -> tuple[Progress, float]:
        """Do the next thing there is to do. Returns the progress, and the seconds to wait before the one after it."""
        pause_s = self._pause_s(webhook, progress)
        if not pause_s and not self._hooks and not await self._read(progress):
            pause_s = IDLE_INTERVAL_S
        if pause_s or not self._hooks:
            return progress, pause_s
        hook = self._hooks[0]
        if hook.type not in webhook.events:
            return await self._pass(progress, hook), 0
        if hook.id == webhook.skip:
            return await self._save(skipped(progress, hook, self._now())), 0
        return await self._deliver(webhook, progress, hook), 0

    def _pause_s(self, webhook: Webhook, progress: Progress) -> float:
        """Seconds for which nothing is to be sent, as the webhook is disabled or waits for its next attempt; else 0."""
        if webhook.disabled:
            return IDLE_INTERVAL_S
        failing = progress.failing
        if failing is None or failing.configured_at != webhook.configured_at:
            return 0
        return min(max(failing.next_at - self._now(), 0) / SECOND_US, IDLE_INTERVAL_S)

    async def _read(self, progress: Progress) -> bool:
        """Read on in the stream; False if there is nothing more."""
        before = self._read_seq
        events, self._read_seq = await self._reads.after(self._cell, self._tenant, before)
        self._hooks.extend(hook for event in events for hook in hooks_of(event) if progress.is_new(hook))
        return self._read_seq > before

    async def _pass(self, progress: Progress, hook: Hook) -> Progress:
        self._unsaved += 1
        after = passed(progress, hook)
        if self._unsaved >= MAX_UNSAVED:
            return await self._save(after)
        self._hooks.popleft()
        return after

    async def _deliver(self, webhook: Webhook, progress: Progress, hook: Hook) -> Progress:
        at = self._now()
        body = body_of(hook, self._tenant)
        outcome = await self._attempts.send(
            self._tenant, webhook, event_id=hook.id, body=body, traceparent=hook.traceparent
        )
        if not outcome.error:
            after = await self._save(delivered(progress, hook, outcome, at))
            point("webhook.recorded")
            return after
        after = failed(
            progress, hook, outcome, now=at, configured_at=webhook.configured_at, backoff=self._rules.backoff,
            chance=random.random(),  # noqa: S311  not a secret
        )  # fmt: skip
        await self._store_progress(after)
        await self._disable_if_hopeless(webhook, after, outcome)
        return after

    async def _disable_if_hopeless(self, webhook: Webhook, progress: Progress, outcome: Outcome) -> None:
        failing, now = progress.failing, self._now()
        assert failing
        _log.info("webhook not taken", webhook=self._id, attempts=failing.attempts, cause=outcome.error)
        sustained = now - failing.since >= self._rules.disable_after_s * SECOND_US
        if (outcome.gone or sustained) and await self._store.disable(self._tenant, webhook, outcome.error, now):
            _log.warning("webhook disabled", webhook=self._id, tenant=self._tenant, cause=outcome.error)

    async def _save(self, progress: Progress) -> Progress:
        """Store the progress behind the first event, and go on to the next."""
        await self._store_progress(progress)
        self._hooks.popleft()
        return progress

    async def _store_progress(self, progress: Progress) -> None:
        self._unsaved = 0
        self._revision = await self._store.put_progress(self._tenant, self._id, self._cell, progress, self._revision)
