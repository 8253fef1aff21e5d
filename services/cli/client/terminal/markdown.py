"""Answers as Markdown: split into blocks, which are printed while the answer is generated, and drawn."""

import re
from typing import Any, ClassVar, Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich import markdown
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment, Segments
from rich.syntax import Syntax

from holdfast.cli.sanitize import clean

_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")


def first_block(text: str) -> int:
    """The length of the first complete block with the blank lines after it; 0 while its end is uncertain.

    A block ends at a blank line outside of code fences, if the next line is there and not indented; an indented line
    could belong to a list item.
    """
    fence, begun, blank, place = "", False, False, 0
    for line in text.splitlines(keepends=True):
        found = _FENCE.match(line)
        if fence:
            if found and found[1].startswith(fence) and not line.strip(" `~\n"):
                fence = ""
        elif not line.strip():
            blank = begun
        elif blank and not line[0].isspace():
            return place
        else:
            begun, blank = True, False
            if found:
                fence = found[1]
        place += len(line)
    return 0


class CodeBlock(markdown.CodeBlock):
    """Code without a frame, so that it can be copied."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        yield Syntax(
            code, self.lexer_name, theme="ansi_dark", word_wrap=True, background_color="default", padding=(0, 2)
        )


class Heading(markdown.Heading):
    LEVEL_ALIGN: ClassVar[dict[str, Any]] = {}


class Markdown(markdown.Markdown):
    """Markdown of an agent on a terminal, complete: HTML is shown as text, line ends stay, addresses of links and
    pictures are written out."""

    elements: ClassVar[dict[str, type[markdown.MarkdownElement]]] = {
        **markdown.Markdown.elements,
        "fence": CodeBlock,
        "code_block": CodeBlock,
        "heading_open": Heading,
    }

    def __init__(self, text: str) -> None:
        super().__init__("", hyperlinks=False)
        self.markup = clean(text)
        parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
        self.parsed = [_kept(token) for token in parser.parse(self.markup)]


def draw(console: Console, text: str) -> Segments:
    """The Markdown `text` as lines of the console's width, without blank lines around it and blanks at line ends."""
    lines = [_stripped(line) for line in console.render_lines(Markdown(text), pad=False)]
    filled = [n for n, line in enumerate(lines) if line]
    kept = lines[filled[0] : filled[-1] + 1] if filled else []
    return Segments([part for line in kept for part in (*line, Segment.line())])


def _stripped(line: list[Segment]) -> list[Segment]:
    while line and not line[-1].text.strip(" "):
        line = line[:-1]
    if line:
        line = [*line[:-1], Segment(line[-1].text.rstrip(" "), line[-1].style)]
    return line


def _kept(token: Token) -> Token:
    match token.type:
        case "softbreak":
            token.type = "hardbreak"
        case "image":
            return Token("text", "", 0, content=f"![{token.content}]({token.attrs.get('src', '')})")
        case "inline":
            token.children = [_kept(child) for child in token.children or ()]
        case _:
            pass
    return token
