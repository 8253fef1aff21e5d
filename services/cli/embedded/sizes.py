"""Numbers of bytes for people. Pure."""

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def human(size: float) -> str:
    """`size` in bytes as three digits and a unit of powers of 1000, such as `4.2 MB`."""
    unit = 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size /= 1000
        unit += 1
    return f"{size:.1f} {_UNITS[unit]}" if unit and size < 9.95 else f"{size:.0f} {_UNITS[unit]}"
