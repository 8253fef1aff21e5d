"""From a method and a path to a route."""

import pytest

from holdfast.session.http.errors import ApiError
from holdfast.session.http.router import Router
from holdfast.session.http.routing import Call, Route


async def handle(_call: Call) -> None: ...


ROUTES = [
    Route(method="GET", path="/v1/things/{thing_id}", handle=handle),
    Route(method="POST", path="/v1/things/{thing_id}", handle=handle),
    Route(method="GET", path="/v1/things/newest", handle=handle),
    Route(method="GET", path="/v1/things/{thing_id}/stream", handle=handle, stream=True),
]


def refused(method: str, path: str) -> ApiError:
    with pytest.raises(ApiError) as caught:
        Router(ROUTES).find(method, path)
    return caught.value


def test_a_path_with_parameters_gives_their_values() -> None:
    assert Router(ROUTES).find("POST", "/v1/things/thing_1") == (ROUTES[1], {"thing_id": "thing_1"})


def test_a_literal_path_comes_before_one_with_a_parameter() -> None:
    assert Router(ROUTES).find("GET", "/v1/things/newest") == (ROUTES[2], {})


def test_head_is_get_except_for_a_stream() -> None:
    assert Router(ROUTES).find("HEAD", "/v1/things/thing_1")[0] is ROUTES[0]
    assert refused("HEAD", "/v1/things/thing_1/stream").status == 405


def test_a_wrong_method_is_405_and_names_the_right_ones() -> None:
    error = refused("DELETE", "/v1/things/thing_1")
    assert (error.status, error.headers["allow"]) == (405, "GET, POST")


@pytest.mark.parametrize("path", ["/", "/v1/things", "/v1/things/a/b", "/v1/thing/a"])
def test_an_unknown_path_is_404(path: str) -> None:
    error = refused("GET", path)
    assert (error.status, error.message) == (404, "no such endpoint")


def test_a_part_that_this_version_lacks_is_refused_by_name() -> None:
    assert refused("PATCH", "/v1/skills/skill_1").message == "skills are not available in this version"


def test_a_route_is_registered_once() -> None:
    with pytest.raises(AssertionError, match="registered twice"):
        Router([*ROUTES, ROUTES[0]])
