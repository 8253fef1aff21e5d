"""JSON objects as model endpoints send them, which is not always as RFC 8259 asks. Pure."""

import json
import math
from typing import Any, Final, NoReturn, cast

import msgspec

Json = dict[str, Any]

_decoder: Final = msgspec.json.Decoder(Json)


def decode_object(data: bytes | bytearray) -> Json:
    """The JSON object. Raises ValueError if `data` is none, or if it is nested too deeply.

    msgspec refuses half of a surrogate pair (`"\\ud83d"`) and bytes that are no UTF-8. Models write the first, gateways
    make both when they cut a text in the middle of a character. Such data is decoded by the standard library: the bytes
    become U+FFFD, the half stays in its string until `whole_characters` joins it with the other half or replaces it.
    """
    try:
        return _decoder.decode(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        problem = str(exc)
    try:
        found: object = json.loads(data.decode("utf-8", "replace"), parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        raise ValueError(problem) from None
    if not isinstance(found, dict):
        raise ValueError(problem)  # noqa: TRY004  the data is wrong, not the caller
    return cast("Json", found)


def whole_characters(text: str) -> str:
    """The text with both halves of a surrogate pair joined, and each half that is alone replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _refuse(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError("a number is out of range")
    return value
