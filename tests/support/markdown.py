"""Fenced blocks, inline code and links of a Markdown file. Pure."""

import re
import shlex
from collections.abc import Iterator

import msgspec


class Block(msgspec.Struct, frozen=True):
    """A fenced block of code."""

    language: str
    """The first word after the opening fence; empty if there is none."""
    line: int
    """Number of the first line of the text, counted from 1."""
    text: str
    before: str
    """The paragraph before the block."""


def blocks(markdown: str) -> list[Block]:
    """All fenced blocks, in order. Raises AssertionError for a fence that is never closed."""
    found: list[Block] = []
    lines = markdown.splitlines()
    opened: tuple[str, str, int] | None = None
    paragraph: list[str] = []
    for number, line in enumerate(lines, start=1):
        fence = re.match(r" {0,3}(`{3,}|~{3,})\s*(\S*)", line)
        if opened is None and fence:
            opened = (fence[1], fence[2], number + 1)
        elif opened and fence and fence[1].startswith(opened[0]) and not fence[2]:
            text = "\n".join(lines[opened[2] - 1 : number - 1])
            found.append(Block(opened[1], opened[2], text, "\n".join(paragraph).strip()))
            opened, paragraph = None, []
        elif opened is None:
            paragraph = [] if line.strip() and paragraph and not paragraph[-1].strip() else paragraph
            paragraph.append(line)
    assert opened is None, f"the fence above line {opened[2]} is never closed" if opened else ""
    return found


def commands(block: Block) -> Iterator[tuple[int, str]]:
    """The commands of a shell block with their line numbers.

    Comments are left out, `&&` and `;` separate commands, and a backslash at the end of a line continues the command.
    In a `console` block only lines that begin with `$ ` are commands.
    """
    start, whole = 0, ""
    for number, line in enumerate(block.text.splitlines(), start=block.line):
        if block.language == "console" and not whole and not line.startswith("$ "):
            continue
        start = start if whole else number
        whole += line.removeprefix("$ ") if block.language == "console" and not whole else line
        if whole.endswith("\\"):
            whole = whole[:-1]
            continue
        for command in _parts(whole):
            yield start, command
        whole = ""


def _parts(line: str) -> Iterator[str]:
    lexer = shlex.shlex(line, posix=False, punctuation_chars=";&")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    for word in lexer:
        if word in (";", "&&"):
            yield " ".join(words)
            words = []
        else:
            words.append(word)
    if words:
        yield " ".join(words)


def links(markdown: str) -> list[str]:
    """Targets of the links to other files of the repository, without `#` and what follows it."""
    found = re.findall(r"\]\(([^)\s]+)\)", markdown)
    return [target.split("#")[0] for target in found if not re.match(r"[a-z]+:|#", target)]


def inline_code(markdown: str) -> list[str]:
    """The texts between single backticks, those of fenced blocks left out."""
    lines = markdown.splitlines()
    for block in blocks(markdown):
        first = block.line - 1
        lines[first : first + len(block.text.splitlines())] = [""] * len(block.text.splitlines())
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", "\n".join(lines))
