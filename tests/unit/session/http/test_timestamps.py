"""Times on the wire."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.session.http import timestamps

MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001  naive is part of what is tried


@given(moment=MOMENTS, minutes=st.integers(-14 * 60, 14 * 60))
def test_any_offset_is_the_same_moment(moment: datetime, minutes: int) -> None:
    here = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    at = timestamps.parse(here.isoformat())
    assert at == (here - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert timestamps.parse(timestamps.text(at)) == at


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("2026-11-21", "2026-11-21T00:00:00.000000Z"),
        ("2026-11-21T09:30:00", "2026-11-21T09:30:00.000000Z"),
        ("2026-11-21t09:30:00.5z", "2026-11-21T09:30:00.500000Z"),
        ("2026-11-21 09:30:00+02:00", "2026-11-21T07:30:00.000000Z"),
        ("2026-11-21T09:30:00.123456789Z", "2026-11-21T09:30:00.123456Z"),
    ],
)
def test_the_spellings_that_clients_use(text: str, wire: str) -> None:
    assert timestamps.text(timestamps.parse(text)) == wire


@given(text=st.text())
def test_anything_else_is_a_value_error(text: str) -> None:
    try:
        timestamps.parse(text)
    except ValueError:
        return
    assert text[:4].isdecimal()


@pytest.mark.parametrize(
    "text", ["", "now", "2026-13-01", "2026-11-21T25:00:00Z", "20261121", "2026-W01", "1795262323"]
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the words differ
        timestamps.parse(text)
