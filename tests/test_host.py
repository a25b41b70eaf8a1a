"""The project around: its configuration and its logger are used where they import, and survived where they break."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = """\
CONFIG = {
    "SYMBOL": "ethusdt",
    "INTERVAL": "15m",
    "LOOKBACK_YEARS": 2,
    "MODEL_TRAINING": {"data_retention_days": 730},
}

class settings:
    binance_api_key = "S3CRET"
"""
LOGGER = """\
import logging, sys

system_logger = logging.getLogger("AresSystem")
system_logger.setLevel(logging.INFO)
system_logger.addHandler(logging.StreamHandler(sys.stdout))
"""
SHOW = "s = Settings(); print(s.symbol, s.interval, s.lookback_years, s.keep_days, s.api_key)"


def host_program(folder: Path, files: dict[str, str], *lines: str, **environment: str):
    """Run a program in a project that has these files under src, and give what became of it."""
    for name, text in {"__init__.py": "", **files}.items():
        path = folder / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    program = ["import sys, logging", "sys.path.insert(0, '.')"]
    program += ["from ares_notebook import Settings", *lines]
    bare = {name: text for name, text in os.environ.items() if not name.startswith("ARES_")}
    return subprocess.run(  # noqa: S603 - our own interpreter and program
        [sys.executable, "-c", "\n".join(program)],
        cwd=folder,
        env={**bare, "PYTHONPATH": str(Path(__file__).parents[1]), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_hosts_values_are_the_defaults(tmp_path):
    """Where src.config imports, its four values stand in place of ours."""
    done = host_program(tmp_path, {"config.py": CONFIG}, SHOW)

    assert done.stdout.split() == ["ETHUSDT", "15m", "2.0", "None", "**********"]
    assert done.stderr == ""


def test_the_environment_wins_over_the_host_and_arguments_over_both(tmp_path):
    """Host < environment < arguments, value by value."""
    lines = "s = Settings(interval='4h'); print(s.symbol, s.interval, s.lookback_years)"
    done = host_program(
        tmp_path, {"config.py": CONFIG}, lines, ARES_SYMBOL="SOLUSDT", ARES_INTERVAL="1d"
    )

    assert done.stdout.split() == ["SOLUSDT", "4h", "2.0"]


def test_an_import_of_the_package_does_not_look_at_the_host(tmp_path):
    """The host's modules are imported by the first Settings(), not before."""
    done = host_program(
        tmp_path,
        {"config.py": CONFIG},
        "print('src.config' in sys.modules)",
        "Settings()",
        "print('src.config' in sys.modules)",
    )

    assert done.stdout.split() == ["False", "True"]


@pytest.mark.parametrize(
    "config",
    [
        "raise RuntimeError('no database')",
        "import a_package_that_nobody_has",
        "import sys; sys.exit(3)",
        "CONFIG = (",
    ],
    ids=["raises", "lacks a module", "exits", "does not parse"],
)
def test_a_broken_config_is_reported_and_survived(tmp_path, config):
    """A src.config that cannot be used costs one warning, and our own defaults hold."""
    done = host_program(tmp_path, {"config.py": config}, SHOW, "Settings()")

    assert done.stdout.split() == ["BTCUSDT", "1h", "1.0", "None", "None"]
    assert done.stderr.count("src.config of the project around cannot be used") == 1
    assert done.returncode == 0


def test_a_config_of_another_project_changes_nothing(tmp_path):
    """A src.config without our names is somebody else's, and no reason for a word."""
    done = host_program(tmp_path, {"config.py": "CONFIG = {'DEBUG': 1}\nsettings = 5"}, SHOW)

    assert done.stdout.split() == ["BTCUSDT", "1h", "1.0", "None", "None"]
    assert done.stderr == ""


def test_a_config_that_is_no_mapping_is_told_once(tmp_path):
    """A CONFIG of another kind is reported, and our own defaults hold."""
    done = host_program(tmp_path, {"config.py": "CONFIG = ['BTCUSDT']"}, SHOW, "Settings()")

    assert done.stdout.split() == ["BTCUSDT", "1h", "1.0", "None", "None"]
    assert done.stderr.count("src.config.CONFIG is a list and no mapping") == 1


def test_a_wrong_value_of_the_host_is_an_error_that_says_where_it_stands(tmp_path):
    """A symbol that cannot be meant is not replaced by another symbol in silence."""
    config = "CONFIG = {'LOOKBACK_YEARS': -1}"
    done = host_program(tmp_path, {"config.py": config}, SHOW)

    assert done.returncode == 1
    assert "lookback_years=-1: " in done.stderr
    assert '(from src.config.CONFIG["LOOKBACK_YEARS"])' in done.stderr


def test_the_newer_keys_of_the_host_are_read_too(tmp_path):
    """Keys in lower case fill the same settings, and those in capitals stand before them."""
    newer = "'trading_symbol': 'ETHUSDT', 'trading_interval': '1m', 'lookback_years': 3"
    done = host_program(tmp_path / "newer", {"config.py": f"CONFIG = {{{newer}}}"}, SHOW)
    config = f"CONFIG = {{'SYMBOL': 'SOLUSDT', {newer}}}"
    both = host_program(tmp_path / "both", {"config.py": config}, SHOW)
    wrong = host_program(
        tmp_path / "wrong", {"config.py": "CONFIG = {'trading_interval': '7m'}"}, SHOW
    )

    assert done.stdout.split() == ["ETHUSDT", "1m", "3.0", "None", "None"]
    assert both.stdout.split()[:2] == ["SOLUSDT", "1m"]
    assert '(from src.config.CONFIG["trading_interval"])' in wrong.stderr


def test_data_retention_days_is_a_lookback_and_deletes_nothing(tmp_path):
    """The host's data_retention_days says how far back to go where nothing else does, and what is kept never."""
    files = {"config.py": "CONFIG = {'MODEL_TRAINING': {'data_retention_days': 730}}"}
    done = host_program(tmp_path, files, SHOW)

    assert done.stdout.split() == ["BTCUSDT", "1h", "2.0", "None", "None"]


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING"])
def test_a_level_alone_shows_the_log(tmp_path, level):
    """A bare script that sets the level of DataDownloader sees its lines, once, and below it none."""
    lines = [
        f"log = logging.getLogger('DataDownloader'); log.setLevel(logging.{level})",
        "Settings(); log.debug('fine'); log.info('told'); log.warning('loud')",
    ]
    done = host_program(tmp_path, {"config.py": "CONFIG = {}"}, *lines)
    shown = {"DEBUG": ["fine", "told", "loud"], "INFO": ["told", "loud"], "WARNING": ["loud"]}
    handled = host_program(tmp_path, {}, "logging.basicConfig(format='H %(message)s')", *lines)

    own = [line for line in done.stderr.splitlines() if "src.utils" not in line]
    assert own == shown[level]
    assert [line for line in handled.stderr.splitlines() if "src.utils" not in line] == [
        f"H {line}" for line in shown[level]
    ]


def test_no_host_is_a_line_at_info(tmp_path):
    """Elsewhere the log says once at INFO that there is no configuration, and nothing above."""
    program = "import logging; logging.basicConfig(level=logging.DEBUG)\nSettings()\n" + SHOW
    done = host_program(tmp_path, {}, program)

    lines = [line for line in done.stderr.splitlines() if "DataDownloader" in line]
    assert lines == [
        "DEBUG:DataDownloader:no src.utils.logger here, so nothing is taken from it",
        "INFO:DataDownloader:no src.config here, so nothing is taken from it",
    ]


def test_the_hosts_logger_gets_our_lines(tmp_path):
    """What DataDownloader says goes to the host's handlers, from the level on that the host set."""
    say = "log = logging.getLogger('DataDownloader'); log.info('heard'); log.debug('unheard')"
    files = {"config.py": CONFIG, "utils/__init__.py": "", "utils/logger.py": LOGGER}
    done = host_program(tmp_path, files, "Settings()", say)

    assert done.stdout.splitlines() == ["heard"]


def test_our_own_level_holds_under_the_hosts_logger(tmp_path):
    """DataDownloader set to DEBUG shows every decision there too."""
    say = (
        "log = logging.getLogger('DataDownloader'); log.setLevel(logging.DEBUG); log.debug('heard')"
    )
    files = {"utils/__init__.py": "", "utils/logger.py": LOGGER}
    done = host_program(tmp_path, files, "Settings()", say)

    assert "heard" in done.stdout.splitlines()


def test_a_broken_logger_is_reported_and_survived(tmp_path):
    """A src.utils.logger that raises costs one warning; standard logging goes on."""
    files = {"utils/__init__.py": "", "utils/logger.py": "raise OSError('no log folder')"}
    done = host_program(tmp_path, files, SHOW)

    assert done.returncode == 0
    assert "src.utils.logger of the project around cannot be used" in done.stderr


SECRETIVE = """\
raise RuntimeError("cannot connect: password=hunter2")
"""
UNREADABLE = """\
class settings:
    @property
    def binance_api_key(self):
        raise RuntimeError("no vault")

settings = settings()
CONFIG = {"SYMBOL": "ETHUSDT"}
"""
EMPTY = """\
CONFIG = {"SYMBOL": "", "INTERVAL": None, "MODEL_TRAINING": None}
class settings:
    binance_api_key = ""
"""
ADAPTED = LOGGER + "system_logger = logging.LoggerAdapter(system_logger, {})\n"


def test_the_words_of_a_break_stay_the_hosts(tmp_path):
    """What a host's error holds is not repeated: its type and line are enough to find it."""
    done = host_program(tmp_path, {"config.py": SECRETIVE}, SHOW)

    assert "hunter2" not in done.stderr
    assert "(RuntimeError at " in done.stderr
    assert "config.py, line 1" in done.stderr


def test_a_value_that_cannot_be_read_is_survived(tmp_path):
    """A host whose values raise when they are read costs one warning, as one that does not import."""
    done = host_program(tmp_path, {"config.py": UNREADABLE}, SHOW, "Settings()")

    assert done.stdout.split() == ["BTCUSDT", "1h", "1.0", "None", "None"]
    assert done.stderr.count("src.config of the project around cannot be used") == 1


def test_what_is_empty_there_is_absent(tmp_path):
    """An empty text or None of the host leaves our default."""
    done = host_program(tmp_path, {"config.py": EMPTY}, SHOW)

    assert done.stdout.split() == ["BTCUSDT", "1h", "1.0", "None", "None"]
    assert done.stderr == ""


def test_an_adapter_of_the_hosts_logger_serves(tmp_path):
    """Where system_logger is a LoggerAdapter the logger under it gets our lines."""
    say = "logging.getLogger('DataDownloader').info('heard')"
    files = {"config.py": CONFIG, "utils/__init__.py": "", "utils/logger.py": ADAPTED}
    done = host_program(tmp_path, files, "Settings()", say)

    assert done.stdout.splitlines() == ["heard"]


def test_the_installed_program_finds_the_host_too(tmp_path):
    """`ares-notebook`, whose own folder is elsewhere, plans the host's symbol in the host's folder."""
    host_program(tmp_path, {"config.py": CONFIG}, "pass")
    program = Path(sys.executable).with_name("ares-notebook")
    done = subprocess.run(  # noqa: S603 - our own program
        [str(program), "plan", "--datasets", "klines", "--years", "0.1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.startswith("Plan for ETHUSDT 15m"), done.stderr
