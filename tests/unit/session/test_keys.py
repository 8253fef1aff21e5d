"""API keys: what is stored of them, and the bus that may be away."""

from holdfast.session import keys


def test_a_new_key_is_long_and_random_and_its_digest_says_nothing() -> None:
    made = {keys.new_key() for _ in range(100)}
    assert len(made) == 100
    for key in made:
        assert len(key) >= keys.MIN_KEY
        assert keys.digest(key) not in key
        assert key not in keys.digest(key)
        assert len(keys.digest(key)) == 64
