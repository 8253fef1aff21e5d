"""API keys: how they are made, what is stored of them, and that no log shows them."""

from holdfast.process.api_keys import new_api_key
from holdfast.process.logs import REDACTED, scrub
from holdfast.session.http import api_keys


def test_a_new_key_is_long_and_random_and_its_digest_says_nothing() -> None:
    made = {new_api_key() for _ in range(100)}
    assert len(made) == 100
    for key in made:
        assert len(key) >= api_keys.MIN_KEY_CHARACTERS
        assert api_keys.digest(key) not in key
        assert key not in api_keys.digest(key)
        assert len(api_keys.digest(key)) == 64


def test_look_ups_of_unknown_keys_are_limited_and_come_back() -> None:
    look_ups = api_keys.LookUps()
    assert sum(look_ups.take(100.0) for _ in range(1000)) == api_keys.LOOK_UPS_AT_ONCE
    assert not look_ups.take(100.0)
    assert look_ups.take(100.06)
    assert not look_ups.take(100.06)
    assert sum(look_ups.take(200.0) for _ in range(1000)) == api_keys.LOOK_UPS_AT_ONCE


def test_a_key_in_a_log_line_is_scrubbed() -> None:
    for _ in range(100):
        assert scrub(f"key {new_api_key()} is unknown") == f"key {REDACTED} is unknown"
