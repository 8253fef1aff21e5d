"""What names a webhook, so that a delivery that is repeated is one task."""

import json

import pytest

from holdfast.session.tasks.rejection import Rejected
from holdfast.session.tasks.signatures import Scheme
from holdfast.session.tasks.webhooks import webhook_event

JSON = {"content-type": "application/json"}
GITHUB = {**JSON, "x-github-delivery": "72d3162e", "x-github-event": "pull_request"}
STANDARD = {**JSON, "webhook-id": "72d3162e"}


def test_github_names_the_delivery_and_its_type() -> None:
    event = webhook_event("github", GITHUB, b'{"action": "opened"}')
    assert (event.data, event.attributes) == ({"action": "opened"}, {"event": "pull_request"})
    assert event.name == webhook_event("github", {**GITHUB, "x-github-event": "ping"}, b"{}").name
    assert event.name != webhook_event("github", {**GITHUB, "x-github-delivery": "72d3162f"}, b"{}").name


def test_names_of_two_schemes_differ() -> None:
    github = webhook_event("github", GITHUB, b"{}").name
    standard = webhook_event("standard", STANDARD, b"{}").name
    stripe = webhook_event("stripe", JSON, b'{"id": "72d3162e"}').name
    assert len({github, standard, stripe, ""}) == 4


@pytest.mark.parametrize(
    ("scheme", "body"),
    [("github", b"{}"), ("standard", b"{}"), ("stripe", b"{}"), ("stripe", b'{"id": 5}'), ("stripe", b'["id"]')],
)
def test_a_webhook_without_a_name_is_a_task_of_its_own(scheme: Scheme, body: bytes) -> None:
    assert webhook_event(scheme, JSON, body).name == ""


@pytest.mark.parametrize("scheme", ["github", "standard", "stripe"])
def test_a_cloud_event_in_a_webhook_keeps_its_name(scheme: Scheme) -> None:
    body = json.dumps({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"id": "2"}}).encode()
    headers = {"content-type": "application/cloudevents+json"}
    named = headers | {"x-github-delivery": "d", "webhook-id": "w"}
    assert webhook_event(scheme, named, body).name == webhook_event(scheme, headers, body).name != ""


@pytest.mark.parametrize("name", ["a\x7fb", "x" * 513, "a\nb"])
def test_a_name_is_short_and_printable(name: str) -> None:
    with pytest.raises(Rejected, match=r"^the name and the type of a delivery"):
        webhook_event("github", {**GITHUB, "x-github-delivery": name}, b"{}")
    with pytest.raises(Rejected, match=r"^the name and the type of a delivery"):
        webhook_event("standard", {**STANDARD, "webhook-id": name}, b"{}")
    with pytest.raises(Rejected, match=r"^the name and the type of a delivery"):
        webhook_event("stripe", JSON, json.dumps({"id": name}).encode())
    with pytest.raises(Rejected, match=r"^the name and the type of a delivery"):
        webhook_event("github", {**GITHUB, "x-github-event": name}, b"{}")
