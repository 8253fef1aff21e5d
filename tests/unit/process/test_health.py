import asyncio

import httpx
import pytest

from holdfast.cli.embedded.ports import free_port
from holdfast.process.health import Health
from holdfast.process.settings import BadSettings


async def test_it_is_ready_when_every_expected_check_is_true_and_not_while_stopping() -> None:
    port = free_port()
    health = Health("session", "nats", "streams")
    async with health.serve(port), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        assert (await client.get("/readyz")).status_code == 503
        health.set("nats", True)
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"]["streams"]["ok"] is False
        health.set("streams", True)
        answer = await client.get("/readyz")
        assert answer.status_code == 200
        assert answer.json()["service"] == "session"
        assert answer.json()["checks"]["nats"]["age"] >= 0
        health.stop()
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200


async def test_a_gauge_is_read_for_each_report() -> None:
    health = Health("harness")
    turns = [1.0]
    health.gauge("running_turns", lambda: turns[0])
    assert health.report(True).gauges == {"running_turns": 1.0}
    turns[0] = 2.0
    assert health.report(True).gauges == {"running_turns": 2.0}


async def test_a_check_has_its_cause_and_notes_are_told_until_they_are_taken_back() -> None:
    health = Health("sandbox", "sandbox")
    port = free_port()
    async with health.serve(port), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        health.set("sandbox", False, "No sandbox can be made.")
        health.note("limits", "each process alone")
        body = (await client.get("/readyz")).json()
        assert body["checks"]["sandbox"]["cause"] == "No sandbox can be made."
        assert body["notes"] == {"limits": "each process alone"}
        health.set("sandbox", True)
        health.note("limits", "")
        body = (await client.get("/readyz")).json()
        assert body["checks"]["sandbox"]["cause"] == ""
        assert body["notes"] == {}


async def test_other_paths_and_methods_are_refused() -> None:
    port = free_port()
    async with (
        Health("x").serve(port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        assert (await client.get("/")).status_code == 404
        assert (await client.post("/healthz")).status_code == 405
        assert (await client.get("/readyz")).status_code == 503  # no checks at all is not ready


async def test_a_client_that_speaks_no_http_does_no_harm() -> None:
    port = free_port()
    async with Health("x", "a").serve(port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x00" * 200_000)
        writer.close()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            assert (await client.get("/healthz")).status_code == 200


async def test_port_zero_serves_nothing() -> None:
    health = Health("x", "a")
    async with health.serve(0):
        health.set("a", True)
        assert health.ready
    assert not health.ready


def test_a_result_that_is_too_old_counts_as_false_and_says_so() -> None:
    health = Health("session", "bus", "keys")
    health.set("keys", True)
    health.set("bus", True, valid_s=60)
    assert health.ready
    health.set("bus", True, valid_s=0)
    assert not health.ready
    checks = health.report(health.ready).checks
    assert not checks["bus"].ok
    assert "hangs" in checks["bus"].cause
    assert checks["keys"].ok, "a check that is made once stays"
    health.set("bus", False, "no answer", valid_s=0)
    assert health.report(False).checks["bus"].cause == "no answer", "the cause that is known is not replaced"
    health.set("bus", True, valid_s=60)
    assert health.ready


async def test_probes_are_answered_on_the_given_address_only() -> None:
    port = free_port()
    async with Health("x", "a").serve(port, "127.0.0.2"), httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://127.0.0.2:{port}/healthz")).status_code == 200
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://127.0.0.1:{port}/healthz")


@pytest.mark.parametrize("host", ["192.0.2.1", "a" * 300])
async def test_an_address_that_cannot_be_listened_on_is_a_bad_setting(host: str) -> None:
    with pytest.raises(BadSettings, match="HOLDFAST_HEALTH_HOST"):
        async with Health("x", "a").serve(free_port(), host):
            pass


async def test_a_port_in_use_is_no_bad_setting_because_its_user_may_be_about_to_end() -> None:
    port = free_port()
    async with Health("x", "a").serve(port):
        with pytest.raises(OSError, match="in use"):
            async with Health("y", "a").serve(port):
                pass
