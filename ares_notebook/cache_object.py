"""A cache as an object: the verbs of the package as its methods, with the settings bound."""

from __future__ import annotations

import atexit
import inspect
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, Generic, ParamSpec, Self, TypeVar, cast, overload

import ares_notebook as ares
from ares_notebook.cache.contents import CacheContents
from ares_notebook.errors import AresError, BadArgument
from ares_notebook.extras import copied
from ares_notebook.formatting import PythonCalls, block, line
from ares_notebook.settings import URLS, Settings

_P = ParamSpec("_P")
_R = TypeVar("_R")
# In a numpydoc section: terms that share a description, and the term with its own.
_TERMS = re.compile(r"^\w+(?:, \w+)+$", flags=re.MULTILINE)
_OWN_TERM = re.compile(r"^settings(?: : .*)?\n(?:[ ]+.*\n)*", flags=re.MULTILINE)
# A section without a term.
_EMPTY_SECTION = re.compile(r"^Parameters\n-+\n\n(?=\w+\n-+\n)", flags=re.MULTILINE)


class BoundVerb(Generic[_P, _R]):
    """A function of the package as a method of `Cache`; it is found when it is first used."""

    def __init__(self, find: Callable[[], Callable[_P, _R]]) -> None:
        self.find = find
        self.__name__ = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.__name__, self.__qualname__ = name, f"{owner.__name__}.{name}"

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Cache, owner: type) -> Callable[_P, _R]: ...
    def __get__(self, instance: Cache | None, owner: type) -> Self | Callable[_P, _R]:
        if instance is None:
            return self
        # A copy with another default takes no frame on the stack, so that a warning names the
        # line of the caller.
        method = copied(cast("Any", self.find()), self.__name__, settings=_bound(instance.settings))
        method.__signature__ = self._signature()  # type: ignore[attr-defined]  # read by inspect
        method.__doc__ = self.__doc__
        return cast("Callable[_P, _R]", method)

    def __call__(self, instance: Cache, /, *arguments: _P.args, **options: _P.kwargs) -> _R:
        """Call the method of a cache by the name that the class has."""
        return self.__get__(instance, Cache)(*arguments, **options)

    def _signature(self) -> inspect.Signature:
        signature = inspect.signature(self.find())
        parameters = signature.parameters.values()
        return signature.replace(
            parameters=[each for each in parameters if each.name != "settings"]
        )

    @property
    def __signature__(self) -> inspect.Signature:
        """That of the method of any cache; inspect, help and Sphinx read it here, as they do `__doc__`."""
        signature = self._signature()
        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return signature.replace(parameters=[own, *signature.parameters.values()])

    def _documentation(self) -> str:
        """The docstring of the function without what is bound, and without its example."""
        function = self.find()
        text = (inspect.getdoc(function) or "").partition("\nExamples\n")[0]
        text = _TERMS.sub(lambda found: _without_settings(found[0]), text)
        text = _EMPTY_SECTION.sub("", _OWN_TERM.sub("", text))
        example = f"`ares_notebook.{function.__name__}` is the same function, with an example."
        return f"{text.rstrip()}\n\n{example}\n"

    __doc__ = property(_documentation)


def _without_settings(terms: str) -> str:
    return ", ".join(each for each in terms.split(", ") if each != "settings")


class Cache:
    """
    A cache folder as an object: the verbs of the package as methods, with its settings bound.

    ``cache.load_klines(...)`` is ``ares_notebook.load_klines(..., settings=cache.settings)``, and so
    with each method; signatures and defaults are those of the functions. Shown in a cell, a cache
    says what it holds.

    Parameters
    ----------
    settings_or_folder : Settings, str or Path, optional
        Settings, or the cache folder with all else from the environment. Defaults to the
        environment's settings.
    demo : bool
        Use the demo exchange, whose market is made up, in this process and offline. It is started at the
        first use and runs until the process ends. The folder defaults to ``demo_cache``.

    Attributes
    ----------
    settings : Settings
        What the methods work with.

    Raises
    ------
    BadArgument
        If *settings_or_folder* is none of these.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import run
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = Cache(folder, demo=True)
    ...     report = run(cache.download_klines("BTCUSDT", "1d", 0.1, end="2025-03-01"))
    ...     frame = cache.load_klines("BTCUSDT", "1d", start="2025-02-01")
    ...     cache.symbols(), len(frame)
    (['BTCUSDT'], 28)
    """

    def __init__(
        self, settings_or_folder: Settings | str | Path | None = None, *, demo: bool = False
    ) -> None:
        given = settings_or_folder
        if not (given is None or isinstance(given, Settings | str | Path)):
            msg = (
                f"settings_or_folder={given!r} is neither Settings nor a folder; pass one of these"
            )
            raise BadArgument(msg)
        own: dict[str, Any] = {} if given is None else {"cache_dir": given}
        if demo:
            self.settings = (
                _demo_settings(given)
                if isinstance(given, Settings)
                else _demo_exchange().settings(**own)
            )
        else:
            self.settings = given if isinstance(given, Settings) else Settings(**own)

    download = BoundVerb(lambda: ares.download_all_data)
    download_klines = BoundVerb(lambda: ares.download_klines_data)
    download_agg_trades = BoundVerb(lambda: ares.download_agg_trades_data)
    download_funding = BoundVerb(lambda: ares.download_funding_data)
    download_futures = BoundVerb(lambda: ares.download_futures_data)
    download_universe = BoundVerb(lambda: ares.download_universe)
    update = BoundVerb(lambda: ares.update)
    repair = BoundVerb(lambda: ares.repair_gaps)
    fetch_missing = BoundVerb(lambda: ares.fetch_missing_data)

    klines = BoundVerb(lambda: ares.klines)
    rows = BoundVerb(lambda: ares.rows)
    load_klines = BoundVerb(lambda: ares.load_klines)
    load_agg_trades = BoundVerb(lambda: ares.load_agg_trades)
    load_funding = BoundVerb(lambda: ares.load_funding)
    load_futures = BoundVerb(lambda: ares.load_futures)
    load_rows = BoundVerb(lambda: ares.load_rows)
    resample_klines = BoundVerb(lambda: ares.resample_klines)
    missing = BoundVerb(lambda: ares.missing)
    arrow_table = BoundVerb(lambda: ares.arrow_table)
    iter_agg_trades = BoundVerb(lambda: ares.iter_agg_trades)
    sql = BoundVerb(lambda: ares.sql)

    plan = BoundVerb(lambda: ares.plan_downloads)
    plan_universe = BoundVerb(lambda: ares.plan_universe)
    plan_update = BoundVerb(lambda: ares.plan_update)
    plan_repair = BoundVerb(lambda: ares.plan_repair)
    plan_audit = BoundVerb(lambda: ares.plan_audit)

    symbols = BoundVerb(lambda: ares.symbols_in_cache)
    list_symbols = BoundVerb(lambda: ares.list_symbols)
    coverage = BoundVerb(lambda: ares.coverage)
    coverage_map = BoundVerb(lambda: ares.coverage_map)
    gaps = BoundVerb(lambda: ares.find_gaps)
    chart = BoundVerb(lambda: ares.chart)
    history = BoundVerb(lambda: ares.download_history)
    runs = BoundVerb(lambda: ares.load_runs)

    validate = BoundVerb(lambda: ares.validate_cache)
    assure_quality = BoundVerb(lambda: ares.assure_quality)
    audit = BoundVerb(lambda: ares.audit_cache)
    fingerprint = BoundVerb(lambda: ares.fingerprint)
    verify_fingerprint = BoundVerb(lambda: ares.verify_fingerprint)

    doctor = BoundVerb(lambda: ares.doctor)

    prune = BoundVerb(lambda: ares.prune_cache)
    to_parquet = BoundVerb(lambda: ares.to_parquet)

    def __repr__(self) -> str:
        return self._faces()[0]

    def _repr_html_(self) -> str:
        return self._faces()[1]

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        # Both at once, so that a notebook looks into the cache one time.
        text, html = self._faces()
        return {"text/plain": text, "text/html": html}

    def _faces(self) -> tuple[str, str]:
        """What the cache holds, as text and as HTML."""
        try:
            contents = CacheContents.of(self.settings)
        except AresError as error:
            # It is what there is to show.
            headline = f"Cache {self.settings.cache_dir} cannot be read"
            return f"{headline}: {error}", block(headline, line(error))
        return str(contents), contents._repr_html_()


def _bound(settings: Settings) -> Settings:
    """The settings that a method works with: messages about their cache name methods, too."""
    copy = settings.replace()
    # Of this copy and of copies of it; it is no setting, and so not replaced.
    object.__setattr__(copy, "_calls", PythonCalls("cache", method_of))
    return copy


def method_of(function: str) -> str:
    """The name of the method that is this function of the package."""
    verbs = (each for each in vars(Cache).values() if isinstance(each, BoundVerb))
    names = {each.find().__name__: each.__name__ for each in verbs}
    return names.get(function, function)


_demo_lock = Lock()


def _demo_exchange() -> ares.DemoExchange:
    """The demo exchange of this process."""
    with _demo_lock:
        return _started()


@cache
def _started() -> ares.DemoExchange:
    exchange = ares.DemoExchange().start()
    atexit.register(exchange.stop)
    return exchange


def _demo_settings(given: Settings) -> Settings:
    """The same settings, but of the demo exchange; those of one already stay as they are."""
    if given.market_name == "demo":
        return given
    demo = _demo_exchange().settings()
    is_own_folder = given.cache_dir != Settings().cache_dir
    addresses = {name: getattr(demo, name) for name in URLS}
    folder = given.cache_dir if is_own_folder else demo.cache_dir
    # The key is Binance's, and is sent to no other host.
    changes = {**addresses, "market": demo.market, "cache_dir": folder, "api_key": None}
    return given.replace(**changes)
