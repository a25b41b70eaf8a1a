"""Carry out a plan on a Dask cluster, into the shared cache folder or an object store."""

from __future__ import annotations

from ares_notebook.extras import needing

with needing("ares_notebook.scale"):
    from ares_notebook.scale.cluster import download, verify

__all__ = ["download", "verify"]


def __dir__() -> list[str]:
    return __all__
