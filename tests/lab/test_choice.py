"""A choice becomes plans and code."""

from __future__ import annotations

import ast
from datetime import UTC, date, datetime

import pytest

from ares_notebook.errors import BadArgument
from ares_notebook.lab.choice import Choice, datasets_of, symbols_in
from ares_notebook.model.markets import UM
from ares_notebook.settings import Settings


def choice(**changes) -> Choice:
    fields = {
        "symbols": ("BTCUSDT",),
        "interval": "1h",
        "lookback": "1",
        "end": date(2025, 4, 1),
        "datasets": ("klines",),
        "settings": Settings(),
    }
    return Choice(**{**fields, **changes})


@pytest.mark.parametrize(
    ("lookback", "end", "start"),
    [
        ("2 years", date(2025, 4, 1), datetime(2023, 4, 1, tzinfo=UTC)),
        ("3 months", date(2025, 4, 1), datetime(2025, 1, 1, tzinfo=UTC)),
        ("1 month", date(2025, 3, 31), datetime(2025, 2, 28, tzinfo=UTC)),
        ("14 months", date(2024, 3, 1), datetime(2023, 1, 1, tzinfo=UTC)),
        ("10 days", date(2025, 3, 5), datetime(2025, 2, 23, tzinfo=UTC)),
    ],
)
def test_months_step_by_the_calendar_and_days_are_days(lookback, end, start):
    """A lookback reaches exactly as far back as a calendar says."""
    [plan] = choice(lookback=lookback, end=end).plans()

    assert plan.start == start


def test_three_months_to_the_first_are_three_files():
    """No file of a fourth month is asked for because months have unequal lengths."""
    [plan] = choice(lookback="3 months").plans()

    assert [step.file.stamp for step in plan.steps] == ["2025-01", "2025-02", "2025-03"]


def test_several_symbols_are_a_plan_each():
    """Each symbol has its own plan, of the same window."""
    plans = choice(symbols=("BTCUSDT", "ETHUSDT")).plans()

    assert [plan.symbol for plan in plans] == ["BTCUSDT", "ETHUSDT"]
    assert len({(plan.start, plan.end) for plan in plans}) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"symbols": ()}, "name a symbol"),
        ({"datasets": ()}, "tick at least one"),
        ({"interval": "7m"}, "not one of Binance's"),
        ({"symbols": ("../x",)}, "not a trading symbol"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes, words):
    """A choice without a symbol, a dataset or a known interval cannot be made."""
    with pytest.raises(BadArgument, match=words):
        choice(**changes)


def test_months_before_the_first_year_are_refused():
    """A lookback of thousands of months is told to be too long, not computed."""
    with pytest.raises(BadArgument, match="1970"):
        choice(lookback=f"{9_999 * 12} months").plans()


def test_the_code_leaves_out_what_is_the_default():
    """No end and the default settings are not written down."""
    code = choice(end=None, datasets=("klines", "agg_trades", "futures")).code()
    lines = code.splitlines()

    assert lines[lines.index("report = await ares.download_all_data(") + 1 : -2] == [
        '    "BTCUSDT",',
        '    "1h",',
        "    1,",
        '    datasets=("klines", "agg_trades", "futures"),',
    ]
    assert lines[-1] == "report"


def test_a_long_call_is_a_line_an_argument():
    """What does not fit a line is broken as a formatter would."""
    code = choice(datasets=("klines", "futures"), settings_code=("settings = x", "")).code()

    assert '    datasets=("klines", "futures"),\n)' in code
    assert max(map(len, code.splitlines())) <= 88


def test_of_several_symbols_the_code_is_one_call():
    """Several symbols are one call, by a cluster as without one, and no line is too long."""
    two = {"symbols": ("BTCUSDT", "ETHUSDT"), "datasets": ("klines", "futures")}
    alone = choice(**two).code().splitlines()
    shared = choice(**two, on_cluster=True).code().splitlines()

    called = alone.index("report = await ares.download_universe(")
    assert alone[called + 1] == '    ("BTCUSDT", "ETHUSDT"),'
    assert "plan = ares.plan_universe(" in shared
    assert shared[-2:] == [
        "report = scale.download(plan, client)  # that of the panel",
        "report",
    ]
    assert max(map(len, [*alone, *shared])) <= 88


def test_a_long_tuple_is_a_line_an_item():
    """All datasets of a market, and many symbols, are broken too, and the code is still Python."""
    symbols = tuple(
        f"{coin}USDT" for coin in ("BTC", "ETH", "SOL", "XRP", "ADA", "BNB", "LTC", "DOT")
    )
    names = tuple(each.name for each in datasets_of(UM))
    code = choice(symbols=symbols, datasets=names, market=UM).code()

    assert '    datasets=(\n        "futures",\n        "um_klines",\n' in code
    assert max(map(len, code.splitlines())) <= 88
    call = ast.parse(code.replace("await ", "")).body[1].value
    assert ast.literal_eval(call.args[0]) == symbols
    assert ast.literal_eval(call.keywords[-1].value) == names


def test_symbols_are_read_as_people_write_them():
    """Commas, spaces and lower case are all the same, and nothing is asked for twice."""
    assert symbols_in(" btcusdt,ETHUSDT  btcusdt; 币安人生USDT ") == (
        "BTCUSDT",
        "ETHUSDT",
        "币安人生USDT",
    )
    assert symbols_in(" , ") == ()
