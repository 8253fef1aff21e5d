"""The resource `/v1/webhooks`: what is refused, who sees what, and what is left after a delete."""

from typing import Any

import httpx
import pytest

from holdfast.cli.client.webhooks import ALL_EVENTS
from holdfast.process.api_keys import new_api_key
from holdfast.session.http import api_keys
from holdfast.session.webhooks.hooks import EVENT_TYPES
from tests.support.edge import SessionService, envelope
from tests.support.webhooks import Receiver, Webhooks

URL = "https://example.com/hooks"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"events": ["session.deleted"]}, "url"),
        ({"url": URL}, "events"),
        ({"url": URL, "events": []}, "events"),
        ({"url": URL, "events": ["session.created"]}, "events: session.created is no type that is delivered"),
        ({"url": URL, "events": ["nonsense"]}, "events: must be of"),
        ({"url": URL, "events": ["session.deleted"], "secret": "whsec_x"}, "secret"),
        ({"url": "http://example.com/", "events": ["session.deleted"]}, "must be https"),
        ({"url": "https://169.254.169.254/latest", "events": ["session.deleted"]}, "must name a public host"),
        ({"url": "https://[::ffff:127.0.0.1]/", "events": ["session.deleted"]}, "must name a public host"),
        ({"url": URL, "events": ["session.deleted"], "metadata": {str(n): "" for n in range(17)}}, "metadata"),
    ],
)
def test_what_is_refused(http: httpx.Client, body: dict[str, Any], said: str) -> None:
    assert said in envelope(http.post("/v1/webhooks", json=body), 400, "invalid_request_error")


def test_from_creation_to_deletion(edge: SessionService, webhooks: Webhooks, http: httpx.Client) -> None:
    made = webhooks.create(URL, events=["session.deleted", "session.deleted"], description="d", metadata={"a": "b"})
    secret = made.pop("secret")
    assert webhooks.get(made["id"]) == made
    assert (made["events"], made["status"], made["failing"], made["disabled"]) == (
        ["session.deleted"], "enabled", [], None
    )  # fmt: skip
    changed = webhooks.update(made["id"], url=URL + "/2", events=["session.updated"], description=None, enabled=False)
    assert (changed["url"], changed["events"], changed["description"]) == (URL + "/2", ["session.updated"], None)
    assert changed["status"] == "disabled"
    assert changed["disabled"]["error"] == ""
    assert webhooks.update(made["id"]) == changed
    others = [webhooks.create(URL)["id"] for _ in range(3)]
    listed = [one["id"] for one in http.get("/v1/webhooks?limit=100").json()["data"]]
    assert listed == [*reversed(others), made["id"]]
    first = http.get("/v1/webhooks?limit=3").json()
    assert [one["id"] for one in first["data"]] == listed[:3]
    second = http.get("/v1/webhooks", params={"limit": 3, "page": first["next_page"]}).json()
    assert ([one["id"] for one in second["data"]], second["next_page"]) == (listed[3:], None)
    assert http.delete(f"/v1/webhooks/{made['id']}").json() == {"id": made["id"], "type": "webhook_deleted"}
    for gone in (http.get, http.delete):
        assert gone(f"/v1/webhooks/{made['id']}").status_code == 404
    assert http.post(f"/v1/webhooks/{made['id']}/test").status_code == 404
    assert http.get(f"/v1/webhooks/{made['id']}/deliveries").status_code == 404
    assert secret not in edge.log.read_text()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"overlap_seconds": -1}, "overlap_seconds"),
        ({"overlap_seconds": 7 * 24 * 3600 + 1}, "overlap_seconds"),
        ({"overlap_seconds": None}, "overlap_seconds"),
        ({"overlap_seconds": 0.5}, "overlap_seconds"),
        ({"secret": "whsec_mine"}, "secret"),
    ],
)
def test_a_secret_is_not_replaced_by_a_mistake(
    webhooks: Webhooks, endpoint: Receiver, http: httpx.Client, body: dict[str, Any], said: str
) -> None:
    made = webhooks.create(endpoint.url)
    answer = http.post(f"/v1/webhooks/{made['id']}/rotate_secret", json=body)
    assert said in envelope(answer, 400, "invalid_request_error")
    webhooks.test(made["id"])
    assert len(endpoint.got[-1].headers["webhook-signature"].split(" ")) == 1
    endpoint.got[-1].event(made["secret"])


def test_the_longest_overlap_and_the_largest_number_of_secrets(webhooks: Webhooks, http: httpx.Client) -> None:
    made = webhooks.create(URL)
    for _ in range(4):
        webhooks.rotate(made["id"], overlap_seconds=7 * 24 * 3600)
    again = http.post(f"/v1/webhooks/{made['id']}/rotate_secret", json={})
    assert "5 secrets are valid already; wait until 20" in envelope(again, 409, "invalid_request_error")
    assert webhooks.rotate(made["id"], overlap_seconds=0)["earlier_valid_until"] is None
    http.delete(f"/v1/webhooks/{made['id']}")
    for gone in (made["id"], "whk_none"):
        assert http.post(f"/v1/webhooks/{gone}/rotate_secret", json={}).status_code == 404


async def test_nobody_sees_or_changes_a_webhook_of_another_tenant(
    edge: SessionService, webhooks: Webhooks, endpoint: Receiver
) -> None:
    made = webhooks.create(endpoint.url)
    key = new_api_key()
    async with edge.bus() as bus:
        await api_keys.install(bus.kv, key, tenant="other", name="k", now=1)
    with edge.http(authorization=f"Bearer {key}") as other:
        assert other.get("/v1/webhooks").json()["data"] == []
        for path in ("", "/deliveries"):
            assert other.get(f"/v1/webhooks/{made['id']}{path}").status_code == 404
        assert other.post(f"/v1/webhooks/{made['id']}/test").status_code == 404
        assert other.post(f"/v1/webhooks/{made['id']}", json={"enabled": False}).status_code == 404
        assert other.post(f"/v1/webhooks/{made['id']}/rotate_secret", json={}).status_code == 404
        assert other.delete(f"/v1/webhooks/{made['id']}").status_code == 404
    assert endpoint.got == []
    assert webhooks.test(made["id"])["status"] == "delivered"


def test_the_command_asks_for_all_events_by_default() -> None:
    assert set(ALL_EVENTS) == set(EVENT_TYPES)
