from holdfast.bus.ids import new_session_id
from holdfast.cli.client.session_ids import SHORT_CHARS, is_full, matches, short


def test_the_short_form_is_the_random_end_of_an_id() -> None:
    ids = [new_session_id() for _ in range(5000)]
    assert len({short(id_) for id_ in ids}) == len(ids)
    for id_ in ids[:10]:
        assert len(short(id_)) == SHORT_CHARS
        assert id_.endswith(short(id_))
        assert is_full(id_)
        assert not is_full(short(id_))


def test_an_id_matches_its_end_and_its_beginning() -> None:
    id_ = "sesn_a0_01m8d9g68xetmssyp8nesj2f91"
    assert matches("esj2f91", id_)
    assert matches("sesn_a0_01m8d9", id_)
    assert matches("01m8d9g68x", id_)
    assert not matches("m8d9g6", id_)
