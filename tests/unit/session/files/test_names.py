"""The name and the type that an upload gets."""

import pytest

from holdfast.session.files.names import MAX_NAME_BYTES, file_name, mime_type
from holdfast.session.http.errors import ApiError


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("a.txt", "a.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\report.pdf", "report.pdf"),
        ("dir/", "unnamed.txt"),
        ("", "unnamed.txt"),
        ("  ", "unnamed.txt"),
        (".env", ".env"),
        ("ä b.txt", "ä b.txt"),
        ("x" * MAX_NAME_BYTES, "x" * MAX_NAME_BYTES),
    ],
)
def test_the_last_component_is_kept(given: str, name: str) -> None:
    assert file_name(given, "text/plain") == name


@pytest.mark.parametrize(
    "given",
    [".", "..", "a/..", "a\nb", "a\r", "a\x00b", "a\x7fb", "\u202egpj.exe", "ä" * 128, "x" * (MAX_NAME_BYTES + 1)],
)
def test_what_is_no_name_is_refused(given: str) -> None:
    with pytest.raises(ApiError, match="file: ") as refused:
        file_name(given, "text/plain")
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("declared", "name", "expected"),
    [
        ("text/plain", "a.pdf", "text/plain"),
        ("Text/Plain; charset=utf-8", "a", "text/plain"),
        ("", "a.pdf", "application/pdf"),
        ("nonsense", "a.png", "image/png"),
        ("text/plain\r\nx: y", "a", "application/octet-stream"),
        ("text/html>", "a", "application/octet-stream"),
        ("", "a.unknown", "application/octet-stream"),
    ],
)
def test_a_type_that_is_none_comes_from_the_name(declared: str, name: str, expected: str) -> None:
    assert mime_type(declared, name) == expected


def test_a_file_without_a_name_and_a_known_type_has_no_extension() -> None:
    assert file_name("", "application/x-nobody-knows") == "unnamed"
