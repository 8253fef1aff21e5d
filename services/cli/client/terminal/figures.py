"""Numbers for people: times, tokens, money. Pure."""

from collections.abc import Mapping

import msgspec

from holdfast.process.model_facts import Price


def duration(seconds: float) -> str:
    """Such as `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def count(number: int) -> str:
    """With a comma between thousands: `12,345`."""
    return f"{number:,}"


def short_count(number: int) -> str:
    """For a line that changes: `950`, `1.2k`, `3.4M`."""
    if number < 1000:
        return str(number)
    return f"{number / 1000:.1f}k" if number < 999_950 else f"{number / 1e6:.1f}M"


def money(dollars: float) -> str:
    """Such as `$0.0042`, `$0.12`, `$12.30`: at least two significant digits."""
    if dollars >= 0.1 or not dollars:
        return f"${dollars:.2f}"
    return f"${dollars:.4f}" if dollars >= 0.001 else "under $0.001"


class Usage(msgspec.Struct):
    """Tokens of several model requests. Cached tokens are not part of `input`."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    def add(self, usage: object) -> None:
        """Add the `model_usage` of a request; fields that it lacks count as 0."""
        self.input += getattr(usage, "input_tokens", 0) or 0
        self.output += getattr(usage, "output_tokens", 0) or 0
        self.cache_read += getattr(usage, "cache_read_input_tokens", 0) or 0
        self.cache_write += getattr(usage, "cache_creation_input_tokens", 0) or 0

    @property
    def total(self) -> int:
        return self.input + self.output + self.cache_read + self.cache_write

    def words(self, price: Price | None) -> list[str]:
        """The tokens and, when the price is known, the money. What is written to the cache counts as in."""
        if not self.total:
            return []
        cached = f", {count(self.cache_read)} from cache" if self.cache_read else ""
        parts = [f"tokens: {count(self.input + self.cache_write)} in, {count(self.output)} out{cached}"]
        if price:
            parts.append(money(price.of(**self.fields())))
        return parts

    def fields(self) -> Mapping[str, int]:
        return msgspec.structs.asdict(self)

    def wire(self) -> Mapping[str, int]:
        """With the names of the Messages API."""
        return {
            "input_tokens": self.input,
            "output_tokens": self.output,
            "cache_read_input_tokens": self.cache_read,
            "cache_creation_input_tokens": self.cache_write,
        }
