import assert from "node:assert/strict";
import test from "node:test";
import {candleAt, changed, numberWords, stepWords, ticks, timeTicks, timeWords} from "../../ares_notebook/lab/static/scale.js";

const DAY = 86_400_000, BOUNDS = {start: 0, end: 100 * DAY};

test("a zoom keeps the place under the pointer, and no change leaves the bounds or the least length", () => {
  const view = {start: 20 * DAY, end: 60 * DAY};
  const closer = changed(view, {factor: 0.5, at: 0.25}, BOUNDS, DAY);
  assert.deepEqual(closer, {start: 25 * DAY, end: 45 * DAY});
  assert.equal(closer.start + 0.25 * 20 * DAY, view.start + 0.25 * 40 * DAY);
  assert.deepEqual(changed(view, {by: 5}, BOUNDS, DAY), {start: 60 * DAY, end: 100 * DAY});
  assert.deepEqual(changed(view, {by: -5}, BOUNDS, DAY), {start: 0, end: 40 * DAY});
  assert.deepEqual(changed(view, {factor: Infinity}, BOUNDS, DAY), BOUNDS);
  const {start, end} = changed(view, {factor: 1e-9, at: 0}, BOUNDS, DAY);
  assert.deepEqual([start, end], [20 * DAY, 21 * DAY]);
  assert.deepEqual(changed({start: 0, end: 1}, {factor: 2}, {start: 0, end: 5}, DAY), {start: 0, end: 5});
});

test("ticks are round, inside and ascending, of any size of number", () => {
  assert.deepEqual(ticks(-0.3, 1.2, 4), [0, 0.5, 1]);
  for (const [low, high] of [[45_802.17, 102_904.99], [1e-8, 9e-8], [-5, 5], [0, 1e12]]) {
    const found = ticks(low, high, 5);
    assert.ok(found.length >= 2 && found.length <= 7, `${found}`);
    assert.ok(found.every((each, at) => each >= low && each <= high && (!at || each > found[at - 1])));
  }
  assert.deepEqual(ticks(3, 3, 5), [3]);
  assert.deepEqual(ticks(NaN, NaN, 5), []);
});

test("moments are round in UTC, from seconds to years, and never more than asked for", () => {
  const start = Date.UTC(2024, 8, 1, 0, 0, 7);
  for (const span of [20_000, 3_600_000, DAY, 10 * DAY, 200 * DAY, 3_000 * DAY]) {
    const found = timeTicks({start, end: start + span}, 10);
    assert.ok(found.length >= 2 && found.length <= 11, `${span}: ${found.length}`);
    assert.ok(found.every(({at}) => at >= start && at < start + span));
    assert.equal(new Set(found.map(({words}) => words)).size, found.length);
  }
  const months = timeTicks({start, end: start + 200 * DAY}, 10);
  assert.deepEqual(months.map(({words}) => words), ["2024-10", "2024-11", "2024-12", "2025-01", "2025-02", "2025-03"]);
});

test("the candle at a moment is the one that is open then; in a gap the nearer one", () => {
  const opens = [10, 20, 30, 70];
  const found = [0, 10, 19, 20, 35, 42, 65, 200].map(at => candleAt(opens, at, 10));
  assert.deepEqual(found, [0, 0, 0, 1, 2, 2, 3, 3]);
  assert.equal(candleAt([], 5, 10), -1);
});

test("numbers, moments and lengths are written as people write them", () => {
  assert.equal(numberWords(102_904.994), "102,904.99");
  assert.equal(numberWords(0.00012345678), "0.00012346");
  assert.equal(numberWords(NaN), "–");
  assert.equal(timeWords(Date.UTC(2025, 2, 14)), "2025-03-14");
  assert.equal(timeWords(Date.UTC(2025, 2, 14, 2)), "2025-03-14 02:00");
  assert.equal(timeWords(Date.UTC(2025, 2, 14, 2, 0, 1)), "2025-03-14 02:00:01");
  assert.deepEqual([1_000, 60_000, 900_000, 3_600_000, DAY, 28 * DAY].map(stepWords), ["1s", "1m", "15m", "1h", "1d", "4w"]);
});
