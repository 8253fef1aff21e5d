"""From the method and the path of a request to its route. Pure."""

from collections.abc import Sequence
from typing import Any

from starlette.routing import compile_path

from holdfast.session.http import unavailable
from holdfast.session.http.errors import ApiError, method_not_allowed
from holdfast.session.http.routing import Route


class Router:
    """The routes, grouped by path: a wrong method is told from an unknown path."""

    def __init__(self, routes: Sequence[Route]) -> None:
        by_path: dict[str, dict[str, Route]] = {}
        for route in routes:
            by_method = by_path.setdefault(route.path, {})
            assert route.method not in by_method, f"{route.method} {route.path} is registered twice"
            by_method[route.method] = route
        # A literal path comes before one with a parameter: `/v1/sessions/{id}` must not match `/v1/sessions/x`.
        ordered = sorted(by_path.items(), key=_literal_first)
        self._paths = [(compile_path(path)[0], by_method) for path, by_method in ordered]

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route and its path parameters. Raises ApiError 404 or 405.

        A path of the API that this version lacks is refused by name, whatever the method.
        """
        for pattern, by_method in self._paths:
            if match := pattern.match(path):
                # The server leaves out the body of an answer to HEAD; that of an event stream would never end.
                route = by_method.get("GET" if method == "HEAD" else method)
                if route is None or (method == "HEAD" and route.stream):
                    raise method_not_allowed(sorted(by_method))
                return route, match.groupdict()
        raise unavailable.refusal(path) or ApiError(404, "not_found_error", "no such endpoint")


def _literal_first(item: tuple[str, Any]) -> tuple[str, ...]:
    return tuple("~" if part.startswith("{") else part for part in item[0].split("/"))
