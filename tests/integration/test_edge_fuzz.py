"""Bodies and queries that nobody would write, made from the OpenAPI document the edge serves.

Whatever comes: an answer below 500 in the shape that the document promises, refusals in the envelope, no traceback, and
nothing stored by what was refused.
HOLDFAST_FUZZ is the number of bodies for each operation that takes one; unset, few enough for about a minute in all.
"""

import os
import random
from collections.abc import Callable, Generator
from typing import Any, Final, cast
from uuid import uuid4

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.generation import GenerationMode

from tests.support.edge import SessionService, session_service
from tests.support.stack import stack

EVERY_CHECK: Final[list[HealthCheck]] = [*cast("Any", HealthCheck)]  # iterating leaves out the deprecated ones
REQUESTS: Final = int(os.environ.get("HOLDFAST_FUZZ", "0"))
LONG: Final = REQUESTS > 0

MUTATIONS: Final = 4
"""Further bodies made from each one that was generated: far cheaper, and closer to what is almost right."""

BODILESS: Final = 500
"""Most requests for an operation without a body, however long the run."""

RENEW: Final = 100
"""Requests after which an operation gets fresh objects, so that none grows without end."""


class Target:
    """One edge to send to, with a real object for each parameter of a path."""

    def __init__(self, base_url: str, key: str, written: Callable[[], dict[str, int]] | None) -> None:
        self.base_url = base_url
        self.last_sequences = written
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers["authorization"] = f"Bearer {key}"

    def create(self, path: str, **body: Any) -> str:
        answer = self.http.post(self.base_url + path, json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    def ids(self, path: str) -> dict[str, str]:
        """Fresh objects for the parameters of `path`."""
        found: dict[str, str] = {}
        if "{agent_id}" in path or "{session_id}" in path:
            found["agent_id"] = self.create("/v1/agents", model="m", name="fuzz")
        if "{environment_id}" in path or "{session_id}" in path:
            found["environment_id"] = self.create("/v1/environments", name=f"fuzz {uuid4()}")
        if "{session_id}" in path:
            found["session_id"] = self.create(
                "/v1/sessions", agent=found["agent_id"], environment_id=found["environment_id"]
            )
        if "{vault_id}" in path:
            found["vault_id"] = self.create("/v1/vaults", display_name="fuzz")
        if "{credential_id}" in path:
            auth = {"type": "static_bearer", "mcp_server_url": "https://mcp.example/fuzz", "token": "t"}
            found["credential_id"] = self.create(f"/v1/vaults/{found['vault_id']}/credentials", auth=auth)
        if "{api_key_id}" in path:
            found["api_key_id"] = self.create("/v1/api_keys", name="fuzz", role="read_only")
        if "{file_id}" in path:
            answer = self.http.post(f"{self.base_url}/v1/files", files={"file": ("fuzz", b"x")}, timeout=30)
            found["file_id"] = answer.json()["id"]
        if "{model_id}" in path:
            found["model_id"] = "claude-opus-5-5"
        return {name: value for name, value in found.items() if f"{{{name}}}" in path}

    def send(self, case: Case, **changes: Any) -> None:
        """Send the case, and check what must hold for any answer."""
        before = self.last_sequences() if self.last_sequences else {}
        request = {**case.as_transport_kwargs(base_url=self.base_url), **changes}
        answer = self.http.request(**{**request, "stream": True, "timeout": 30})
        try:
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                return
            text = answer.text
        finally:
            answer.close()
        assert answer.status_code < 500, (answer.status_code, text)
        assert answer.headers["request-id"].startswith("req_")
        assert "Traceback" not in text
        case.operation.validate_response(answer)
        if answer.status_code >= 400:
            error = answer.json()
            assert error["type"] == "error"
            assert error["error"]["message"]
            assert error["request_id"] == answer.headers["request-id"]
            assert (self.last_sequences() if self.last_sequences else {}) == before, (
                "something was stored by a refused request"
            )


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Generator[SessionService]:
    with session_service(tmp_path_factory.mktemp("edge")) as running:
        yield running


def fuzz(target: Target, prefix: str) -> dict[str, int]:
    """Send to every operation whose path begins with `prefix`; returns how many requests each got."""
    schema = schemathesis.openapi.from_url(f"{target.base_url}/openapi.json")
    sent: dict[str, int] = {}
    for result in schema.get_all_operations():
        operation = result.ok()  # pyright: ignore[reportAttributeAccessIssue]  an Err raises here
        if operation.path.startswith(prefix):
            sent[operation.label] = _fuzz_operation(target, operation)
    assert sent
    return sent


def _fuzz_operation(target: Target, operation: Any) -> int:
    modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    strategies = [operation.as_strategy(generation_mode=mode) for mode in modes]
    # What archives or deletes is tried on something real only once in a while: each time that is the end of it.
    ends = operation.method.upper() == "DELETE" or operation.path.endswith(("/archive", "/revoke"))
    chance = random.Random(0 if not LONG else None)
    real: dict[str, str] = {}
    parts: dict[str, str] = {}
    count = 0
    most = (REQUESTS or 100) // (1 + MUTATIONS) if operation.body else min(REQUESTS or 20, BODILESS)

    @settings(
        max_examples=most,
        deadline=None,
        database=None,
        derandomize=not LONG,
        phases=[Phase.generate],
        suppress_health_check=EVERY_CHECK,
    )
    @given(case=st.one_of(strategies), use_real=st.integers(0, 9))
    def one(case: Case, use_real: int) -> None:
        nonlocal count
        if "{" in operation.path and use_real:
            if not real or count % RENEW == 0 or (ends and use_real == 1):
                real.update(target.ids(operation.path))
            case.path_parameters = dict(real)
        if operation.label == "POST /v1/sessions" and use_real and isinstance(case.body, dict):
            if not parts or count % RENEW == 0:
                parts.update(target.ids("{agent_id} {environment_id}"))
            case.body = _with_parts(case.body, parts)
        count += 1
        target.send(case)
        if operation.body and isinstance(case.body, dict | list):
            for _ in range(MUTATIONS):
                count += 1
                target.send(case, json=mutated(case.body, chance))

    one()
    return count


ODD: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1 << 64, 0.5, "", " ", "a", "\u202e", "x" * 300, "../..", "null", "\x00", "{}"),
    *([], {}, [[]], [None], {"": None}, {"type": None}, {"type": "cloud"}, [{"type": "text", "text": ""}]),
)


def mutated(value: Any, chance: random.Random) -> Any:
    """`value` with one place in it changed: something odd put there, left out, added or repeated."""
    if chance.random() < 0.3 or not isinstance(value, dict | list) or not value:
        return chance.choice(ODD)
    if isinstance(value, list):
        at = chance.randrange(len(value))
        changed = [mutated(value[at], chance)] * chance.choice((0, 1, 1, 1, 2, 300))
        return [*value[:at], *changed, *value[at + 1 :]]
    name = chance.choice(list(value))
    match chance.randrange(6):
        case 0:
            return {key: inner for key, inner in value.items() if key != name}
        case 1:
            return {**value, chance.choice(("type", "id", "extra", "", "$ref", "x" * 100)): chance.choice(ODD)}
        case _:
            return {**value, name: mutated(value[name], chance)}


def _with_parts(body: dict[str, Any], parts: dict[str, str]) -> dict[str, Any]:
    """The body of a session with an agent and an environment that exist, so that the rest of it is looked at too."""
    agent = body.get("agent")
    agent = {**agent, "id": parts["agent_id"]} if isinstance(agent, dict) else parts["agent_id"]
    return {**body, "agent": agent, "environment_id": parts["environment_id"]}


@pytest.mark.timeout(0 if LONG else 120)
@pytest.mark.parametrize("prefix", ["/v1/agents", "/v1/environments", "/v1/sessions", "/v1/api_keys", "/v1/files", "/"])
def test_no_request_breaks_the_edge_or_stores_what_it_refuses(edge: SessionService, prefix: str) -> None:
    target = Target(edge.base_url, edge.key, edge.last_sequences)
    if prefix == "/":
        for path in ("/healthz", "/readyz", "/v1/models", "/v1/audit_records"):
            assert fuzz(target, path)
    else:
        print(fuzz(target, prefix))  # noqa: T201  the figures of a long run
    assert '"level": "error"' not in edge.log.read_text()
    target.http.close()


@pytest.mark.timeout(0 if LONG else 120)
def test_no_request_breaks_the_vault_endpoints(tmp_path_factory: pytest.TempPathFactory) -> None:
    with stack(tmp_path_factory.mktemp("stack"), harnesses=1) as running:
        target = Target(running.run.base_url, running.run.api_key, None)
        print(fuzz(target, "/v1/vaults"))  # noqa: T201
        for log in ("session", "vault"):
            text = "".join(file.read_text() for file in (running.data / "logs").glob(f"{log}*.log"))
            assert text
            assert '"level": "error"' not in text
        target.http.close()


@pytest.mark.timeout(0 if LONG else 120)
def test_bytes_that_are_no_json_are_refused(edge: SessionService) -> None:
    target = Target(edge.base_url, edge.key, edge.last_sequences)

    @settings(
        max_examples=REQUESTS or 200,
        deadline=None,
        database=None,
        suppress_health_check=EVERY_CHECK,
    )
    @given(
        body=st.one_of(st.binary(max_size=200), st.text(max_size=100).map(lambda t: t.encode("utf-8", "surrogatepass")))
    )
    def one(body: bytes) -> None:
        for path in ("/v1/agents", "/v1/environments", "/v1/sessions", "/v1/sessions/sesn_a0_x/events"):
            answer = target.http.post(target.base_url + path, data=body, timeout=30)
            assert answer.status_code == 400, (answer.status_code, answer.text)
            assert answer.json()["error"]["type"] == "invalid_request_error"

    before = edge.last_sequences()
    one()
    assert edge.last_sequences() == before
    target.http.close()
