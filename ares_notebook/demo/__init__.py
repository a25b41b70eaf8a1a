"""A local Binance for tests, examples and offline work."""

from ares_notebook.demo.exchange import DemoExchange
from ares_notebook.demo.faults import Fault
from ares_notebook.demo.server import Request

__all__ = ["DemoExchange", "Fault", "Request"]


def __dir__() -> list[str]:
    return __all__
