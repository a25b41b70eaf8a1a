"""A local Binance for tests, examples and offline work."""

from ares_notebook.demo.exchange import DemoExchange, Request
from ares_notebook.demo.faults import Fault

__all__ = ["DemoExchange", "Fault", "Request"]
