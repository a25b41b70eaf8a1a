"""A request that the demo exchange got, written down."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Request:
    """
    A request that the demo exchange got.

    Parameters
    ----------
    method, path : str
        As sent; the path decoded.
    query : dict of str to str
        Parameters.
    status : int
        What it was answered with; 0 if the line was cut before a status was sent.
    weight : int
        Request weight that it cost.
    headers : dict of str to str
        Headers of the request, names in lower case.
    """

    method: str
    path: str
    query: dict[str, str]
    status: int
    weight: int
    headers: dict[str, str] = field(default_factory=dict, repr=False)
