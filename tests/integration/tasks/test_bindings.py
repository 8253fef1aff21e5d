"""`/v1/bindings` over HTTP."""

from typing import Any

import httpx
import pytest

from tests.support.edge import SessionService, envelope, replica


def test_a_binding_is_made_read_changed_and_archived(http: httpx.Client, bind: Any, agent: str) -> None:
    made = bind("life", session_key="{{id}}")
    assert (made["type"], made["version"], made["agent"]) == (
        "task_binding", 1, {"type": "agent", "id": agent, "version": None},
    )  # fmt: skip
    assert http.get("/v1/bindings/life").json() == made
    assert made["max_open"] == 100
    changed = http.post("/v1/bindings/life", json={"message": "New {{what}}", "version": 1}).json()
    assert (changed["version"], changed["message"], changed["session_key"]) == (2, "New {{what}}", "{{id}}")
    same = http.post("/v1/bindings/life", json={"message": "New {{what}}"}).json()
    assert same == changed
    stale = envelope(http.post("/v1/bindings/life", json={"title": "x", "version": 1}), 409, "invalid_request_error")
    assert "at version 2" in stale
    assert http.get("/v1/bindings/life?version=1").json() == made
    assert [one["version"] for one in http.get("/v1/bindings/life/versions").json()["data"]] == [2, 1]

    assert "update it" in envelope(
        http.post("/v1/bindings", json={**_body(made), "message": "x"}), 409, "invalid_request_error"
    )
    archived = http.post("/v1/bindings/life/archive").json()
    assert archived["archived_at"]
    assert http.post("/v1/bindings/life/archive").json() == archived
    envelope(http.post("/v1/bindings/life", json={"title": "x"}), 400, "invalid_request_error")
    assert "life" not in [one["kind"] for one in http.get("/v1/bindings").json()["data"]]
    assert "life" in [one["kind"] for one in http.get("/v1/bindings?include_archived=true").json()["data"]]

    again = bind("life")
    assert (again["version"], again["archived_at"], again["session_key"]) == (3, None, None)
    assert http.get("/v1/bindings/life?version=2").json()["message"] == "New {{what}}"


def _body(made: dict[str, Any]) -> dict[str, Any]:
    return {"kind": made["kind"], "agent": made["agent"]["id"], "environment_id": made["environment_id"]}


def test_the_list_has_pages_in_the_order_of_the_kinds(http: httpx.Client, bind: Any) -> None:
    for kind in ("p3", "p1", "p2"):
        bind(kind)
    found: list[str] = []
    page = ""
    while True:
        answer = http.get(f"/v1/bindings?limit=1{page}").json()
        found += [one["kind"] for one in answer["data"]]
        if not answer["next_page"]:
            break
        page = f"&page={answer['next_page']}"
    assert [kind for kind in found if kind.startswith("p")] == ["p1", "p2", "p3"]
    assert found == sorted(found)


def test_another_replica_sees_it_at_once(edge: SessionService, bind: Any, tmp_path: Any) -> None:
    with replica(edge, tmp_path) as second, second.http() as other:
        made = bind("both")
        assert other.get("/v1/bindings/both").json() == made


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"agent": "agent_unknown"}, 404, "agent not found"),
        ({"environment_id": "env_unknown"}, 404, "environment"),
        ({"max_open": 0}, 400, "max_open"),
        ({"max_open": 1001}, 400, "max_open"),
        ({"signature": {"scheme": "github", "secrets": ["x"]}}, 400, "signature.secrets[0]: a secret must have"),
        ({"vault_ids": ["vlt_1"]}, 400, "vaults in sessions are not available"),
        ({"message": "{{a b}}"}, 400, "message: "),
        ({"kind": "_invalid"}, 400, "kind: "),
        ({"kind": "batch"}, 400, "kind: "),
        ({"unknown": 1}, 400, "unknown"),
    ],
)
def test_what_is_wrong_is_said(  # noqa: PLR0917  fixtures and parameters
    http: httpx.Client, agent: str, environment: str, fields: dict[str, Any], status: int, text: str
) -> None:
    body = {"kind": "wrong", "agent": agent, "environment_id": environment, "message": "x", **fields}
    kind = "not_found_error" if status == 404 else "invalid_request_error"
    assert text in envelope(http.post("/v1/bindings", json=body), status, kind)
    envelope(http.get("/v1/bindings/wrong"), 404, "not_found_error")


def test_tasks_and_bindings_that_are_not_there(http: httpx.Client) -> None:
    for path in ("/v1/bindings/none", "/v1/tasks/task_none", "/v1/bindings/a$b", "/v1/tasks/a$b"):
        envelope(http.get(path), 404, "not_found_error")
    envelope(http.post("/v1/tasks/task_none/resend"), 404, "not_found_error")
    assert http.get("/v1/tasks").json() == {"data": [], "next_page": None}
