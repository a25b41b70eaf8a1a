import assert from "node:assert/strict";
import test from "node:test";
import {heads, rowsShown} from "../../ares_notebook/lab/static/map.js";

/** @param {string} by @param {string[]} days @param {string[]} titles */
const grid = (by, days, titles = []) => ({by, bounds: days.map(day => Date.parse(day)), series: [], titles, headline: ""});
/** @param {{text: string, line: number}[]} found @param {number} line */
const texts = (found, line) => found.filter(each => each.line === line).map(each => each.text);

test("lines are those whose title has all words, and may begin with most gaps, then fewest complete", () => {
  const shown = grid("month", ["2025-01-01", "2025-02-01", "2025-03-01"], ["BTCUSDT klines 1h", "ETHUSDT klines 1h", "BTCUSDT funding"]);
  const cells = new Uint8Array([2, 2, 6, 2, 2, 4]);
  assert.deepEqual(rowsShown(shown, cells, "", "name"), [0, 1, 2]);
  assert.deepEqual(rowsShown(shown, cells, " 1H btc", "name"), [0]);
  assert.deepEqual(rowsShown(shown, cells, "<b>", "name"), []);
  assert.deepEqual(rowsShown(shown, cells, "", "gaps"), [1, 2, 0]);
});

test("years stand above months, and a first year without room is left out", () => {
  const months = [...Array(15).keys()].map(at => new Date(Date.UTC(2024, 10 + at, 1)).toISOString());
  const wide = heads(grid("month", months), 30);
  assert.deepEqual(texts(wide, 0), ["2024", "2025"]);
  assert.deepEqual(texts(wide, 1).slice(0, 3), ["11", "12", "01"]);
  const narrow = heads(grid("month", months), 11);
  assert.deepEqual(texts(narrow, 0), ["2025"]);
  assert.deepEqual(texts(narrow, 1), ["01", "04", "07", "10"]);
  const days = [...Array(33).keys()].map(at => new Date(Date.UTC(2025, 0, 1 + at)).toISOString());
  assert.deepEqual(texts(heads(grid("day", days), 11), 0), ["2025-01", "2025-02"]);
});
