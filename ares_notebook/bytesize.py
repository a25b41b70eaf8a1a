"""Sizes in bytes, as people write them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, ByteSize, Field, TypeAdapter, ValidationError

from ares_notebook.errors import BadArgument

__all__ = ["Size", "bytes_of"]

_SIZE = re.compile(r"\s*\d*\.?\d+\s*[A-Za-z]*\s*")


def _size(value: object) -> object:
    """Refuse what `ByteSize` would read in part: of "1,5 GB" it takes the 1, and no unit."""
    if isinstance(value, bool) or (isinstance(value, str) and not _SIZE.fullmatch(value)):
        msg = 'is not a size; pass bytes, or text such as "20 GB"'
        raise ValueError(msg)
    return value


Size = Annotated[ByteSize, BeforeValidator(_size), Field(ge=0)]
"""A setting that is a size."""
_SIZES: TypeAdapter[ByteSize] = TypeAdapter(Size)


def bytes_of(value: object, argument: str) -> int:
    """
    A size in bytes: a whole number, or text with a unit (decimal, or binary such as ``GiB``).

    Raises
    ------
    BadArgument
        If it is none; the message names *argument*.

    Examples
    --------
    >>> bytes_of("1.5 GB", "max_bytes"), bytes_of("1 KiB", "max_bytes")
    (1500000000, 1024)
    """
    try:
        return int(_SIZES.validate_python(value))
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        msg = f"{argument}={value!r}: {reason}"
        raise BadArgument(msg) from None
