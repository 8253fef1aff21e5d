"""The pieces of a multipart body, however it is cut on its way."""

import itertools

import pytest

from holdfast.session.http.errors import ApiError
from holdfast.session.http.form import MAX_PARTS, FormParser, Part, PartEnd, Piece

TYPE = "multipart/form-data; boundary=xyz"
BODY = (
    b'--xyz\r\nContent-Disposition: form-data; name="expires_in_seconds"\r\n\r\n3600\r\n'
    b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="\xc3\xa4 %22b%22.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\n\r\n--xy\r\n--xyz-\x00\r\n\r\n--xyz--\r\n"
)
DATA = b"\r\n--xy\r\n--xyz-\x00\r\n"


def read(*chunks: bytes, content_type: str = TYPE) -> list[Piece]:
    """The pieces, with those of the bytes of one part joined."""
    form = FormParser(content_type)
    pieces = list(itertools.chain.from_iterable(form.feed(chunk) for chunk in chunks))
    form.finish()
    joined: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


EXPECTED = [
    Part(name="expires_in_seconds", filename=None, content_type=""),
    b"3600",
    PartEnd(),
    Part(name="file", filename='ä "b".txt', content_type="text/plain"),
    DATA,
    PartEnd(),
]


def body(data: bytes) -> bytes:
    head = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    return head + data + b"\r\n--xyz--\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_a_body_has_the_same_pieces_however_it_is_cut(size: int) -> None:
    data = b"\r\n--xy\r\n-\x00--xyz \r\n\r\n"
    whole = BODY.replace(DATA, data)
    expected = [data if piece == DATA else piece for piece in EXPECTED]
    assert read(*(whole[at : at + size] for at in range(0, len(whole), size))) == expected


@pytest.mark.parametrize(
    "data", [b"", b"\r", b"\r\n", b"\r\n-", b"\r\n--", b"-", b"--xyz", b"\r\r\n--xy", b"\x00" * 70_000]
)
def test_bytes_that_resemble_a_boundary_are_bytes_of_the_file(data: bytes) -> None:
    whole = body(data)
    for cut in {0, len(whole) - 9, len(whole) - 10, len(whole) - 11, len(whole) - 12}:
        pieces = read(whole[:cut], whole[cut:])
        assert b"".join(piece for piece in pieces if isinstance(piece, bytes)) == data


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=xyz",
     f"multipart/form-data; boundary={'x' * 500}"],
)  # fmt: skip
def test_what_is_no_form_is_refused(content_type: str) -> None:
    with pytest.raises(ApiError, match="multipart/form-data"):
        FormParser(content_type)


@pytest.mark.parametrize(
    ("chunk", "said"),
    [
        (b"nonsense", "not valid"),
        (b"--other\r\n", "not valid"),
        (b"--xyz\r\n\r\n", "has no name"),
        (b'--xyz\r\nContent-Disposition: attachment; name="file"\r\n\r\n', "has no name"),
        (b"--xyz\r\nContent-Disposition: form-data\r\n\r\n", "has no name"),
        (b'--xyz\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n', "not UTF-8"),
        (b'--xyz\r\nContent-Disposition: form-data; name="a"; filename="\xff"\r\n\r\n', "not UTF-8"),
        (b"--xyz\r\n" + b"a: b\r\n" * 1000, "not valid"),
        (b"--xyz\r\na: " + b"b" * 100_000, "not valid"),
        (b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * (MAX_PARTS + 1), "more than 16 parts"),
        (BODY[:-9], "ends early"),
        (b"", "ends early"),
    ],
)
def test_what_cannot_be_read_is_refused(chunk: bytes, said: str) -> None:
    with pytest.raises(ApiError, match=said) as refused:
        read(chunk)
    assert refused.value.status == 400
