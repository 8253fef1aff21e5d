"""How fast tasks without a binding become dead letters."""

from holdfast.session.tasks.letter_rate import LETTERS_AT_ONCE, LETTERS_PER_S, MAX_TENANTS, LetterRate


def test_some_are_taken_at_once_and_then_at_a_rate() -> None:
    rate = LetterRate()
    assert sum(rate.take("t", 5.0) for _ in range(1000)) == LETTERS_AT_ONCE
    later = 5.0 + 10 / LETTERS_PER_S
    assert sum(rate.take("t", later) for _ in range(1000)) == 10
    assert sum(rate.take("t", later + 1e9) for _ in range(1000)) == LETTERS_AT_ONCE


def test_a_tenant_takes_nothing_from_another() -> None:
    rate = LetterRate()
    while rate.take("loud", 1.0):
        pass
    assert rate.take("quiet", 1.0)
    assert not rate.take("loud", 1.0)


def test_memory_is_bounded() -> None:
    rate = LetterRate()
    while rate.take("first", 1.0):
        pass
    for n in range(MAX_TENANTS):
        rate.take(f"t{n}", 1.0)
    assert rate.take("first", 1.0), "the oldest is forgotten"
