"""Who takes part: ours, the floor, the peers, the readers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from benchmarks.tasks import Task

__all__ = [
    "ARCHIVISTS",
    "CALLERS",
    "CCXT",
    "CLUSTERS",
    "FREQTRADE",
    "GAPLESS",
    "GROWING",
    "IMPORTS",
    "NEKOJIRU",
    "OURS",
    "PART_READERS",
    "PYTHON_BINANCE",
    "READERS",
    "STAGES",
    "STARTS",
    "UNZIPPER",
    "VISION",
    "WIDE_READERS",
    "Contender",
]


@dataclass(frozen=True, slots=True)
class Contender:
    """
    One who takes part.

    Parameters
    ----------
    name : str
        As the tables say it.
    program : str
        Its file in ``programs``; or ``-c`` and code.
    says : str
        What it does for the rows, in a few words.
    home : str
        Whose Python runs it: empty for ours, else the name of a list in ``peers``.
    leaves : str
        In which form it leaves its rows (see `rows.READERS`); empty: none to count.
    asks : mapping
        What is added to the case's task.
    grows : bool
        Whether it is measured at every size; the others only at the main one.
    parses : bool
        Whether it turns text into numbers; a plain unzip does not.
    """

    name: str
    program: str
    says: str = ""
    home: str = ""
    leaves: str = ""
    asks: Task = field(default_factory=dict)
    grows: bool = False
    parses: bool = True

    @property
    def is_peer(self) -> bool:
        """Whether it is somebody else's whole program; readers are but libraries."""
        return self.program.startswith("peer_")


OURS = Contender(
    "ares_notebook", "ours_download.py",
    "checksum, every row parsed and proven, atomic, durable, receipts",
    leaves="cache", grows=True,
)  # fmt: skip
FLOOR = Contender(
    "the floor", "floor.py", "checksum, inflated, as many bytes written, durable; no row looked at"
)
STREAMED = Contender(
    "bare PyArrow, streamed", "pyarrow_streamed.py",
    "checksum, parsed, reordered, durable; nothing proven",
    leaves="cache",
)  # fmt: skip
UNZIPPER = Contender(
    "binance-historical-data", "peer_binance_historical_data.py",
    "unzipped as it is; no checksum, nothing parsed",
    home="binance_historical_data", leaves="raw", parses=False,
)  # fmt: skip
VISION = Contender(
    "binance-vision", "peer_binance_vision.py", "checksum, parsed, one Parquet file",
    home="binance_vision", leaves="parquet",
)  # fmt: skip
NEKOJIRU = Contender(
    "nekojiru-binance", "peer_nekojiru.py",
    "checksum, split into columns of text; one CSV file a month or day, not durable",
    home="nekojiru_binance", leaves="named", parses=False,
)  # fmt: skip
FREQTRADE = Contender(
    "freqtrade", "peer_freqtrade.py", "no checksum, parsed, one Feather file",
    home="freqtrade", leaves="feather",
)  # fmt: skip
GAPLESS = Contender(
    "gapless-crypto-data", "peer_gapless.py", "no checksum, parsed, one CSV file, holes by REST",
    home="gapless_crypto_data", leaves="headed",
)  # fmt: skip
PYTHON_BINANCE = Contender(
    "python-binance", "peer_python_binance.py", "a list, written as CSV by us",
    home="python_binance", leaves="raw",
)  # fmt: skip
CCXT = Contender(
    "ccxt", "peer_ccxt.py", "a list of floats, written as CSV by us", home="ccxt", leaves="raw"
)
ARCHIVISTS = (OURS, FLOOR, STREAMED, UNZIPPER, NEKOJIRU, VISION, FREQTRADE)
# Who is measured at every size, or number of cores: the floor, and the fastest of the peers.
GROWING = (OURS, *(replace(each, grows=True) for each in (FLOOR, UNZIPPER, NEKOJIRU)))
CALLERS = (
    replace(OURS, says="parsed and proven, atomic, durable, receipts", grows=False),
    PYTHON_BINANCE,
    CCXT,
)


def _cluster(name: str, workers: int, *, a_core_each: bool = False) -> Contender:
    asks = {"workers": workers, "a_core_each": a_core_each}
    return Contender(name, "ours_cluster.py", leaves="cache", asks=asks)


CLUSTERS = (
    _cluster("ares_notebook", 0),
    _cluster("one worker on one core", 1, a_core_each=True),
    _cluster("two workers on a core each", 2, a_core_each=True),
    _cluster("one worker", 1),
    _cluster("two workers", 2),
    _cluster("four workers", 4),
    _cluster("eight workers", 8),
)


def _reader(name: str, label: str = "", says: str = "", **asks: object) -> Contender:
    return Contender(
        label or name, "readers.py", says, leaves="feather", asks={"reader": name, **asks}
    )


READERS = (
    _reader("ours", "ares_notebook", "from Arrow copies"),
    _reader("ours, a table", "ares_notebook, an Arrow table", "from Arrow copies"),
    _reader("ours", "ares_notebook, LZ4", "from compressed copies", beside="-lz4"),
    _reader("ours, first load", "ares_notebook, first load", "CSV, and makes copies", again=False),
    _reader("ours", "ares_notebook, no copies", "CSV", copies="off"),
    _reader("Parquet", "Parquet by PyArrow", "Parquet", beside="-parquet"),
    _reader("pyarrow", says="CSV"),
    _reader("pyarrow, a thread a file", says="CSV"),
    _reader("pandas, engine=pyarrow", says="CSV"),
    _reader("pandas", says="CSV"),
    _reader("polars", says="CSV"),
    _reader("polars, lazy", says="CSV"),
    _reader("duckdb", says="CSV"),
    Contender("only the imports", "-c import pandas, pyarrow"),
)
_ALIKE = ("pyarrow, a thread a file", "polars", "pandas, engine=pyarrow", "only the imports")
PART_READERS = tuple(replace(each, leaves="") for each in READERS if each.name not in _ALIKE)
# Of 1,200 files duckdb, which guesses the form of each, would take a minute.
_NOT_WIDE = ("ares_notebook, an Arrow table", "duckdb")
WIDE_READERS = tuple(each for each in PART_READERS if each.name not in _NOT_WIDE)


def _import(name: str, module: str, home: str = "") -> Contender:
    return Contender(name, f"-c import {module}", home=home)


IMPORTS = (
    _import("ares_notebook", "ares_notebook"),
    # sys is there already: a bare interpreter.
    _import("nothing", "sys"),
    _import("pandas", "pandas"),
    _import("binance-historical-data", "binance_historical_data", "binance_historical_data"),
    _import("binance-vision", "binance_vision", "binance_vision"),
    _import("freqtrade", "freqtrade.main", "freqtrade"),
    _import("python-binance", "binance.client", "python_binance"),
    _import("ccxt", "ccxt", "ccxt"),
)


def _start(name: str, *words: str) -> Contender:
    run = f"import sys; sys.argv = {['ares-notebook', *words]!r}; from ares_notebook.cli import main; main()"
    return Contender(name, f"-c {run}")


STARTS = (
    _start("ares_notebook", "plan", "BTCUSDT", "1h", "--years", "1", "--cache-dir", "out"),
    _start("ares_notebook, --help", "--help"),
    _import("nothing", "sys"),
)
STAGES = (
    Contender("candles", "stages.py", asks={"kind": "klines"}),
    Contender("trades", "stages.py", asks={"kind": "trades"}),
)
