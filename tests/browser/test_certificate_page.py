"""The certificate in a browser: nothing of many datasets is cut off."""

from __future__ import annotations

import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange

DATASETS = (
    "um_klines",
    "um_agg_trades",
    "futures",
    "mark_price_klines",
    "index_price_klines",
    "premium_index_klines",
    "metrics",
)
# Whatever is wider than its place, and labels of the picture that reach beyond it.
CUT_OFF = """() => {
    const wide = [...document.querySelectorAll("pre, .wide, body")].filter(
        each => each.scrollWidth > each.clientWidth)
    const svg = document.querySelector("svg").getBoundingClientRect()
    const out = [...document.querySelectorAll("svg text")].filter(each => {
        const box = each.getBoundingClientRect()
        return box.left < svg.left - 1 || box.right > svg.right + 1 || box.bottom > svg.bottom + 1
    })
    return [...wide.map(each => each.tagName), ...out.map(each => each.textContent)]
}"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """That of all datasets of one perpetual of a long name, as a file."""
    folder = tmp_path_factory.mktemp("certificate")
    with DemoExchange() as exchange:
        settings = exchange.settings(cache_dir=folder / "cache", progress=False)
        window = {"start": "2025-02-01", "end": "2025-02-03", "settings": settings}
        ares.run(ares.download_all_data("1000SHIBUSDT", "1h", datasets=DATASETS, **window))
        # More files of the archive than a table that is not folded has lines.
        window["end"] = "2025-03-20"
        ares.run(ares.download_all_data("1000SHIBUSDT", "1h", datasets=["metrics"], **window))
        return ares.validate_cache(settings=settings).save(folder / "certificate.html")


# The width of A4 within its margins is 720.
@pytest.mark.parametrize(("medium", "width"), [("screen", 1000), ("print", 720)])
def test_nothing_is_cut_off(browser, certificate, medium, width):
    """On a screen and on paper no code, no table and no label of the map reaches out of its place."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.emulate_media(media=medium)
    page.goto(certificate.as_uri())
    titles = page.locator("svg text").all_text_contents()
    found = page.evaluate(CUT_OFF)
    page.close()

    assert found == []
    assert all(any(name in title for title in titles) for name in DATASETS)


def test_on_paper_every_file_is_named(browser, certificate):
    """The list of files, which a screen folds, is open on paper."""
    page = browser.new_page()
    page.goto(certificate.as_uri())
    row = page.locator("details tr").last
    assert not row.is_visible()
    page.emulate_media(media="print")
    assert row.is_visible()
    page.close()
