"""Settings of the harness."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from holdfast.harness.turn.decide import Limits
from holdfast.harness.turn.retry import RetrySettings
from holdfast.process.backoff import Backoff
from holdfast.process.model_facts import ModelFacts
from holdfast.process.settings import ProcessSettings

VENDOR: Final = "https://api.anthropic.com"
"""Anthropic's own address."""


class HarnessSettings(ProcessSettings, frozen=True, kw_only=True):
    """Read once from HOLDFAST_<FIELD>."""

    name: str = ""
    """Name of this replica in logs and commits. Empty: made of the host name and the process id."""
    model: str = "anthropic"
    """Kind of model endpoint: a name in `models/registry.py`."""
    model_base_url: str = VENDOR
    """Address of the model endpoint. For a kind that is a cloud the default means: the address that the cloud has."""
    model_key_file: str = ""
    """Path of a file with the API key of the endpoint, mode 0600. Empty: the endpoint needs no key."""
    model_auth: Literal["bearer", "x-api-key"] = "bearer"
    """How the key is sent, by the kinds `anthropic` and `messages`: `Authorization: Bearer`, or `x-api-key`."""
    model_betas: str = ""
    """Values of the header `anthropic-beta`, with commas."""
    models_file: str = ""
    """Path of a TOML or JSON file with what is known of models, over `process/models.toml`: limits, prices."""
    model_silence: Annotated[float, Meta(gt=0, le=3600)] = 300.0
    """Seconds without a byte after which a model's stream is closed; longer than its longest pause while it thinks."""
    model_attempts: Annotated[int, Meta(ge=1, le=100)] = 8
    """Failed requests in a row after which the turn ends with `retries_exhausted`; see `model_patience`."""
    model_patience: Annotated[float, Meta(ge=0, le=2_592_000)] = 21_600.0
    """Seconds of uninterrupted failure for which a model that is unreachable, overloaded or limits the rate is asked
    again, and at least `model_attempts` times. 0: only `model_attempts` counts, as it always does for responses that
    break off."""
    retry_first: Annotated[float, Meta(gt=0, le=60)] = 0.5
    """Seconds before the first retry; doubles with each. A random part of up to a quarter is subtracted."""
    retry_most: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    """Longest delay between two attempts in seconds, if the endpoint asks for no longer one."""
    retry_after_most: Annotated[float, Meta(ge=0, le=600)] = 120.0
    """Longest `retry-after` of the endpoint that is obeyed, in seconds; a longer one counts as this."""
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] = 16_384
    """Largest number of tokens in one response; less for a model that gives less."""
    rounds: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    """Tool-use rounds in one turn."""
    sessions: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    """Sessions that this replica drives at once. Further inputs of a session that it drives do not count."""
    tenant_sessions: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """Of these, sessions of one tenant; less than `sessions` keeps places free for other tenants. 0: no limit."""
    hold: Annotated[float, Meta(ge=0, le=3600)] = 30.0
    """Seconds to keep the claim of a session while its tools run; once released, the result wakes any replica."""
    snapshot_every: Annotated[int, Meta(ge=1, le=1_000_000)] = 64
    """Events between two context snapshots."""
    egress: Literal["on", "off"] = "on"
    """Whether sandboxes have a network, as the agent is told: the same variable as that of the sandbox service."""

    def limits(self, facts: ModelFacts) -> Limits:
        """The bounds of a turn with a model of which `facts` are known."""
        response_tokens = self.response_tokens(facts)
        return Limits(
            rounds=self.rounds,
            response_tokens=response_tokens,
            context_tokens=facts.compact_above(response_tokens),
        )

    def response_tokens(self, facts: ModelFacts) -> int:
        """The largest number of tokens in one response of a model of which `facts` are known."""
        return min(self.max_tokens, facts.largest_output)

    def retries(self) -> RetrySettings:
        return RetrySettings(
            attempts=self.model_attempts,
            patience_s=self.model_patience,
            backoff=Backoff(first_s=self.retry_first, longest_s=self.retry_most),
            retry_after_most_s=self.retry_after_most,
        )
