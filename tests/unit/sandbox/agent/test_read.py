"""The tool `read`, on a folder of the test."""

from pathlib import Path

import pytest

from holdfast.sandbox.agent.files import Root
from holdfast.sandbox.agent.inputs import ToolError
from holdfast.sandbox.agent.read import read
from tests.unit.sandbox.agent.conftest import text_of


@pytest.mark.parametrize(
    ("view", "shown"),
    [([1, 1], "a"), ([2, 3], "b\nc"), ([2, -1], "b\nc\n"), ([2, 0], "b\nc\n"), ([0, 2], "a\nb"),
     ([3, 99], "c\n"), ([9, 9], None), ([3, 2], None)],
)  # fmt: skip
def test_view_ranges(root: Root, view: list[int], shown: str | None) -> None:
    Path(root.path, "f").write_text("a\nb\nc\n")
    assert text_of(read(root, {"file_path": "f", "view_range": view})) == (shown or "(no such lines)")


def test_reading_what_is_no_text_or_too_much_says_what_to_do(root: Root) -> None:
    Path(root.path, "empty").touch()
    Path(root.path, "binary").write_bytes(b"\xff\x00")
    Path(root.path, "big").write_text("x" * 300_000 + "\ny\n")
    assert text_of(read(root, {"file_path": "empty"})) == "(the file is empty)"
    for given, said in (
        ({"file_path": "binary"}, "not valid UTF-8"),
        ({"file_path": "big"}, "Use the view_range parameter"),
        ({"file_path": "big", "view_range": [1, 1]}, "alone exceeds"),
        ({"file_path": "big", "view_range": [1, 9]}, "Narrow the view_range"),
    ):
        with pytest.raises(ToolError, match=said):
            read(root, given)
    assert text_of(read(root, {"file_path": "big", "view_range": [2, 2]})) == "y"


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF"
GIF = b"GIF89a\1\0\1\0\x80\0\0\xff\xff\xff"
WEBP = b"RIFF\x24\0\0\0WEBPVP8 "
PDF = b"%PDF-1.7\n%\xe2\xe3"


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.gif", "x.webp", "x.pdf", "x.txt", "x", "x.JPEG"])
@pytest.mark.parametrize(
    ("content", "media"),
    [(PNG, "image/png"), (JPEG, "image/jpeg"), (GIF, "image/gif"), (WEBP, "image/webp"), (PDF, "application/pdf")],
)
def test_a_file_is_shown_as_what_it_is_whatever_its_name(root: Root, name: str, content: bytes, media: str) -> None:
    """Case F09."""
    Path(root.path, name).write_bytes(content)
    (block,) = read(root, {"file_path": name})
    assert block["type"] == ("document" if media == "application/pdf" else "image")
    assert block["source"]["media_type"] == media
    with pytest.raises(ToolError, match="view_range is not supported"):
        read(root, {"file_path": name, "view_range": [1, 2]})


@pytest.mark.parametrize("name", ["x.png", "x.pdf", "x.txt"])
def test_what_is_neither_picture_nor_pdf_is_text_or_an_error(root: Root, name: str) -> None:
    path = Path(root.path, name)
    for text in ("<svg/>", "GIF89a is a format", "not found", "PNG", "\0\1"):
        path.write_text(text)
        assert text_of(read(root, {"file_path": name})) == text.replace("\0\1", "\\x00\\x01")
    for content, said in ((b"BM\xff\xfe", "it is a BMP image"), (b"PK\3\4\xff", "ZIP archive"),
    (b"\xff\xfe\xfd", "UTF-16 text, which iconv"),
                          (b"\0\0\0\x1cftypheic\xff", "a HEIC image"),
                          (b"\x89PNX\xff", "not valid UTF-8")):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(ToolError, match=said):
            read(root, {"file_path": name})
