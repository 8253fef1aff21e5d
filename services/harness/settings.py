"""Settings of the harness."""

from typing import Annotated

from msgspec import Meta

from holdfast.harness.turn.decide import Limits
from holdfast.harness.turn.retry import RetrySettings
from holdfast.process.settings import ProcessSettings


class HarnessSettings(ProcessSettings, frozen=True, kw_only=True):
    """Read once from HOLDFAST_<FIELD>."""

    name: str = ""
    """Name of this replica in logs and commits; empty: made from the host and the process id."""
    model: str = "anthropic"
    """Kind of model endpoint: a name in services/harness/models."""
    model_base_url: str = "https://api.anthropic.com"
    """Where the model is reached."""
    model_key_file: str = ""
    """Path of a file with the model's API key, mode 0600."""
    model_silence: Annotated[float, Meta(gt=0, le=3600)] = 300.0
    """Seconds a model may send nothing before its stream is cut; longer than its longest pause to think."""
    model_attempts: Annotated[int, Meta(ge=1, le=100)] = 8
    """Requests in a row that may fail before the turn ends with `retries_exhausted`; see `model_patience`."""
    model_patience: Annotated[float, Meta(ge=0, le=2_592_000)] = 21_600.0
    """Seconds of uninterrupted failure for which a model that is away, overloaded or limits the rate is asked again,
    with at least `model_attempts` requests. 0: that number alone counts. Answers that break off have that limit too."""
    retry_first: Annotated[float, Meta(gt=0, le=60)] = 0.5
    """Seconds before the first retry; doubles with each. Up to a quarter less at random."""
    retry_most: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    """Longest wait between two attempts in seconds; a longer `retry-after` is kept to, up to 10 minutes."""
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] = 16_384
    """Most tokens of one answer."""
    context_tokens: Annotated[int, Meta(ge=1000, le=100_000_000)] = 160_000
    """Tokens of context above which the history is summarised first."""
    rounds: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    """Tool-use rounds in one turn."""
    sessions: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    """Sessions that this replica drives at once."""
    hold: Annotated[float, Meta(ge=0, le=3600)] = 30.0
    """Seconds to stay with a session while its tools run; after that any replica continues on the result."""
    snapshot_every: Annotated[int, Meta(ge=1, le=1_000_000)] = 64
    """Events after which a context snapshot is written."""

    def limits(self) -> Limits:
        return Limits(rounds=self.rounds, context_tokens=self.context_tokens)

    def retries(self) -> RetrySettings:
        return RetrySettings(
            attempts=self.model_attempts, patience=self.model_patience, first=self.retry_first, most=self.retry_most
        )
