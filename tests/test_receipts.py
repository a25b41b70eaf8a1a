"""Receipts: memory, never authority."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ares_notebook.cache.entry import Receipt, Source
from ares_notebook.model.facts import Facts, Gap
from ares_notebook.model.gaps import Absence

FULL = Receipt(
    file="aggtrades_币安人生USDT_2025-01-15.csv",
    size=123,
    mtime_ns=1_735_689_600_123_456_789,
    sha256="ab" * 32,
    facts=Facts(
        rows=7,
        first_ms=1,
        last_ms=2,
        covered_from_ms=1,
        covered_until_ms=2,
        first_id=0,
        last_id=9,
        pace_ms=3_600_000,
        gaps=(Gap(1, 2, 3, after_id=4, before_id=8), Gap(5, 6)),
        off_grid=1,
    ),
    sources=(
        Source("daily archive", "https://example.org/a.zip", "2025-01-16T00:00:00Z", "cd" * 32),
        Source("rest", "https://example.org/api", "2025-01-16T00:00:00Z"),
    ),
    absences=(Absence(1, 2, "rest", "2025-01-16T00:00:00Z", after_id=3, before_id=5),),
    final=True,
)
ABSENT = Receipt("klines_BTCUSDT_1h_2015-01.csv", None, None, None, Facts())
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("receipt", [FULL, ABSENT], ids=["full", "absent"])
def test_what_is_written_is_read_back(receipt):
    """A receipt comes back equal, as text and as bytes, and is written the same again."""
    text = receipt.to_json()

    assert Receipt.from_json(text) == Receipt.from_json(text.encode()) == receipt
    assert Receipt.from_json(text).to_json() == text


def test_a_receipt_can_be_read_by_people():
    """It is JSON of one fact a line, with letters of any script as they are."""
    text = FULL.to_json()

    assert '\n "file": "aggtrades_币安人生USDT_2025-01-15.csv",\n' in text
    assert text.endswith("}\n")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"7",
        b'"format"',
        b"{}",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        "{}\n{}",
    ],
    ids=lambda text: repr(text)[:12],
)
def test_rubbish_is_no_receipt(text):
    """What is no receipt at all is measured anew, and raises nothing."""
    assert Receipt.from_json(text) is None


@settings(deadline=None)
@given(st.integers(0, len(FULL.to_json().encode()) - 3))
def test_half_a_receipt_is_none(length):
    """A receipt that was cut anywhere is not believed."""
    assert Receipt.from_json(FULL.to_json().encode()[:length]) is None


def places(value, path=()):
    """Where in a JSON value something stands that could be wrong."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for name, each in inner:
        yield (*path, name)
        yield from places(each, (*path, name))


@settings(deadline=None)
@given(st.sampled_from(list(places(json.loads(FULL.to_json())))), JUNK)
def test_a_receipt_with_anything_wrong_in_it_is_none_or_sound(place, junk):
    """Whatever stands in any one place: the receipt is none, or of the right sort throughout."""
    data = json.loads(FULL.to_json())
    inside = data
    for name in place[:-1]:
        inside = inside[name]
    inside[place[-1]] = junk

    receipt = Receipt.from_json(json.dumps(data))

    assert receipt is None or Receipt.from_json(receipt.to_json()) == receipt


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", 2),
        ("size", "123"),
        ("size", 1.5),
        ("size", True),
        ("final", 1),
        ("final", "true"),
        ("file", None),
        ("facts", None),
        ("facts", {}),
        ("sources", None),
        ("sources", [{}]),
        ("sources", [5]),
        ("absences", [{"start_ms": 1}]),
        ("absences", [None]),
        ("more", 1),
    ],
)
def test_a_field_of_another_sort_makes_it_none(name, value):
    """A wrong field is not repaired: the whole receipt is not believed."""
    data = {**json.loads(FULL.to_json()), name: value}

    assert Receipt.from_json(json.dumps(data)) is None


@pytest.mark.parametrize(
    "name", ["format", "file", "size", "mtime_ns", "sha256", "facts", "sources", "absences"]
)
def test_a_missing_field_makes_it_none(name):
    """A receipt that lacks a field is not believed."""
    data = json.loads(FULL.to_json())
    del data[name]

    assert Receipt.from_json(json.dumps(data)) is None


def test_the_bytes_on_disk_stay_as_they_are():
    """Every field is written, in this order and with these breaks, as all caches have them."""
    receipt = Receipt(
        "a.csv", 1, None, None, Facts(rows=1), (Source("rest", "ü", "at"),), (), trouble=None
    )

    assert (
        receipt.to_json()
        == """{
 "format": 1,
 "file": "a.csv",
 "size": 1,
 "mtime_ns": null,
 "sha256": null,
 "facts": {
  "rows": 1,
  "first_ms": null,
  "last_ms": null,
  "covered_from_ms": null,
  "covered_until_ms": null,
  "first_id": null,
  "last_id": null,
  "pace_ms": null,
  "gaps": [],
  "off_grid": 0,
  "quiet": [],
  "first_pace_ms": null
 },
 "sources": [
  {
   "road": "rest",
   "url": "ü",
   "at": "at",
   "sha256": null
  }
 ],
 "absences": [],
 "final": false,
 "trouble": null
}
"""
    )


def test_an_old_receipt_is_read():
    """A receipt from before quiet hours and troubles were known holds as it is."""
    data = json.loads(ABSENT.to_json())
    del data["trouble"], data["facts"]["quiet"]

    assert Receipt.from_json(json.dumps(data)) == ABSENT


@pytest.mark.parametrize("place", ["facts", "sources", "absences"])
def test_what_we_do_not_know_makes_it_none(place):
    """A receipt with a field that we never wrote is somebody else's, however deep it stands."""
    data = json.loads(FULL.to_json())
    inside = data[place] if place == "facts" else data[place][0]
    inside["more"] = 1

    assert Receipt.from_json(json.dumps(data)) is None
