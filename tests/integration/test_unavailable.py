"""Every request of the installed SDK has a route of ours or is refused by name: a new SDK adds no silent hole."""

import ast
from collections.abc import Generator, Iterator
from pathlib import Path

import anthropic
import httpx
import pytest

from holdfast.session.http.unavailable import PARTS
from tests.support.edge import SessionService, session_service

METHODS = {
    "_get": "GET",
    "_get_api_list": "GET",
    "_post": "POST",
    "_put": "PUT",
    "_patch": "PATCH",
    "_delete": "DELETE",
}


def requests_of(source: str) -> Iterator[tuple[str, str]]:
    """Method and path of each request that a module of the SDK makes; paths that the server gave are left out."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS):
            continue
        method = METHODS[node.func.attr]
        for keyword in node.keywords:
            if keyword.arg == "method":
                method = str(ast.literal_eval(keyword.value)).upper()
        path = node.args[0]
        if isinstance(path, ast.Call):  # path_template("/v1/…/{id}", id=id)
            path = path.args[0]
        if isinstance(path, ast.Constant):
            yield method, str(path.value).partition("?")[0]
        else:
            assert ast.unparse(path) == "batch.results_url", f"a request whose path is not read: {ast.unparse(node)}"


SDK = sorted(
    {
        request
        for module in (Path(anthropic.__file__).parent / "resources").rglob("*.py")
        for request in requests_of(module.read_text())
    }
)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Generator[SessionService]:
    with session_service(tmp_path_factory.mktemp("edge")) as running:
        yield running


def test_each_request_of_the_sdk_is_served_or_refused_by_name(edge: SessionService) -> None:
    assert len(SDK) > 250
    served = 0
    with httpx.Client(base_url=edge.base_url, trust_env=False) as http:  # without a key: a route answers 401
        for method, path in SDK:
            answer = http.request(method, path.replace("{", "").replace("}", ""))
            if answer.status_code == 401:
                served += 1
                continue
            error = answer.json()["error"]
            assert answer.status_code == 404, f"{method} {path}: {error['message']}"
            assert error["message"].endswith(" are not available in this version"), f"{method} {path}"
            assert error["details"] == {"error_code": "not_available"}
    assert served >= 30


def test_each_missing_part_is_known_to_the_sdk_and_has_no_route(edge: SessionService) -> None:
    beside_the_resources = {"/v1/oauth"}
    for path in set(PARTS) - beside_the_resources:
        assert any(known == path or known.startswith(f"{path}/") for _, known in SDK), f"{path}: unknown to the SDK"
    with edge.http() as http:
        described = http.get("/openapi.json").json()["paths"]
    for path in described:
        assert not any(path == part or path.startswith(f"{part}/") for part in PARTS), f"{path} is served"


def test_the_sdk_raises_not_found_at_once(edge: SessionService) -> None:
    beta = edge.client().beta
    for call, name in (
        (lambda: beta.skills.create(files=[("s/SKILL.md", b"a" * 100_000)]), "skills"),
        (lambda: beta.skills.retrieve("skill_1"), "skills"),
        (lambda: beta.sessions.threads.list("sesn_1"), "threads"),
        (lambda: beta.environments.work.poll("env_1"), "self-hosted environments"),
        (beta.messages.batches.list, "message batches"),
    ):
        with pytest.raises(anthropic.NotFoundError) as refused:
            call()
        assert refused.value.body["error"]["message"] == f"{name} are not available in this version"  # type: ignore[index]
        assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"
