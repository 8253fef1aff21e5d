"""The message that is being generated, printed part by part: Markdown by blocks, plain text by lines."""

from rich.console import Console
from rich.text import Text

from holdfast.cli.sanitize import clean


class Draft:
    """The message that is being generated. With `rich` it is drawn as Markdown.

    The methods that change it return whether they have printed something.
    """

    def __init__(self, console: Console, *, rich: bool) -> None:
        self._console = console
        self._rich = rich
        self._event_id = ""
        self._text = ""
        self._printed = ""
        """The beginning of the text that has been printed."""

    @property
    def unprinted(self) -> str:
        """The end of the text, which is not printed yet."""
        return self._text[len(self._printed) :]

    def add(self, event_id: str, text: str) -> bool:
        """Add text to the message with that id. Another message before it is dropped."""
        dropped = False
        if event_id != self._event_id:
            dropped = self.drop()
            self._event_id = event_id
        self._text += text
        return self._print_complete_parts() or dropped

    def finish(self, event_id: str, text: str) -> bool:
        """Print the rest of the whole message `text`."""
        dropped = False
        if event_id != self._event_id or not text.startswith(self._printed):
            dropped = self.drop()
        self._text = text
        printed = self._print_complete_parts()
        printed = self._print_part(len(self.unprinted)) or printed
        self._forget()
        return printed or dropped

    def drop(self) -> bool:
        """Give up a message that will not be completed: print the rest of its text with an ellipsis."""
        text, rest, printed = self._text, self.unprinted.strip("\n"), self._printed
        self._forget()
        if not text:
            return False
        if not printed:
            self._console.print()
        self._console.print(Text(f"{clean(rest)} …" if rest else "…", "dim"), soft_wrap=not self._rich)
        return True

    def _forget(self) -> None:
        self._event_id = self._text = self._printed = ""

    def _print_complete_parts(self) -> bool:
        """Print the complete blocks, or the complete lines."""
        printed = False
        if self._rich:
            from holdfast.cli.client.terminal.markdown import first_block  # noqa: PLC0415  slow to import; not for pipes

            while size := first_block(self.unprinted):
                printed = self._print_part(size) or printed
        elif size := self.unprinted.rfind("\n") + 1:
            printed = self._print_part(size)
        return printed

    def _print_part(self, size: int) -> bool:
        """Print the next `size` characters."""
        part = self.unprinted[:size]
        if not part:
            return False
        if not self._printed:
            self._console.print()
        if self._rich:
            from holdfast.cli.client.terminal.markdown import draw  # noqa: PLC0415  slow to import; not for pipes

            if self._printed and part.strip():
                self._console.print()
            self._console.print(draw(self._console, part), end="")
        else:
            self._console.print(Text(clean(part).removesuffix("\n")), soft_wrap=True)
        self._printed += part
        return True
