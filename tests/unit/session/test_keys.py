"""API keys: what is stored of them, and the bus that may be away."""

from holdfast.session.http import api_keys


def test_a_new_key_is_long_and_random_and_its_digest_says_nothing() -> None:
    made = {api_keys.new_key() for _ in range(100)}
    assert len(made) == 100
    for key in made:
        assert len(key) >= api_keys.MIN_KEY
        assert api_keys.digest(key) not in key
        assert key not in api_keys.digest(key)
        assert len(api_keys.digest(key)) == 64
