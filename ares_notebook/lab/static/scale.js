/**
 * A view that was moved by a share of its length and made longer by a factor around a place in it.
 * It keeps a length, and some of *bounds* in it.
 *
 * @param {TimeWindow} view
 * @param {{by?: number, factor?: number, at?: number}} change `at` from 0, the start, to 1, the end
 * @param {TimeWindow} bounds
 * @param {number} least the shortest length, in milliseconds
 * @returns {TimeWindow}
 */
export function changed(view, {by = 0, factor = 1, at = 0.5}, bounds, least) {
  const span = view.end - view.start;
  const whole = bounds.end - bounds.start;
  const length = Math.min(Math.max(span * factor, Math.min(least, whole)), whole);
  const start = view.start + span * by + (span - length) * at;
  const first = Math.min(Math.max(start, bounds.start), bounds.end - length);
  return {start: first, end: first + length};
}

/**
 * Round numbers from *low* to *high*, about so many.
 *
 * @param {number} low
 * @param {number} high
 * @param {number} count
 */
export function ticks(low, high, count) {
  const rough = (high - low) / Math.max(count, 1);
  if (!(rough > 0) || !Number.isFinite(rough)) return Number.isFinite(low) ? [low] : [];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find(each => each * power >= rough) ?? 10);
  const all = [];
  for (let at = Math.ceil(low / step); at * step <= high; at++) all.push(at * step || 0);
  return all;
}

const MINUTE = 60_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const STEPS = [
  1_000, 5_000, 15_000, 30_000, MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR,
  DAY, 2 * DAY, 7 * DAY, 14 * DAY,
];
const MONTHS = [1, 3, 6, 12, 24, 60];

/**
 * Round moments of a view, UTC, at most so many, each with its label.
 *
 * @param {TimeWindow} view
 * @param {number} most
 */
export function timeTicks({start, end}, most) {
  const step = STEPS.find(each => (end - start) / each <= most);
  const found = [];
  if (step) {
    for (let at = Math.ceil(start / step) * step; at < end; at += step) found.push(at);
  } else {
    const months = MONTHS.find(each => (end - start) / (each * 30 * DAY) <= most) ?? 120;
    const first = new Date(start);
    let count = Math.ceil((first.getUTCFullYear() * 12 + first.getUTCMonth()) / months) * months;
    for (; Date.UTC(0, count) - Date.UTC(0, 0) >= 0; count += months) {
      const at = Date.UTC(Math.floor(count / 12), count % 12);
      if (at >= end) break;
      if (at >= start) found.push(at);
    }
  }
  return found.map(at => ({at, words: tickWords(at, step ?? 30 * DAY)}));
}

/** @param {number} at @param {number} step */
function tickWords(at, step) {
  const words = new Date(at).toISOString();
  if (step < DAY && at % DAY) return words.slice(11, step < MINUTE ? 19 : 16);
  return step >= 30 * DAY ? words.slice(0, 7) : words.slice(0, 10);
}

/** A moment in UTC, without what is zero at its end. @param {number} at */
export function timeWords(at) {
  const words = new Date(at).toISOString();
  if (at % DAY === 0) return words.slice(0, 10);
  return `${words.slice(0, 10)} ${words.slice(11, at % MINUTE ? 19 : 16)}`;
}

/** A length of time, such as 15m. @param {number} step */
export function stepWords(step) {
  for (const [unit, name] of /** @type {[number, string][]} */ ([[7 * DAY, "w"], [DAY, "d"], [HOUR, "h"], [MINUTE, "m"]])) {
    if (step % unit === 0) return `${step / unit}${name}`;
  }
  return `${step / 1_000}s`;
}

/** A number with as many digits as tell something. @param {number} value @param {number} [like] of its size */
export function numberWords(value, like = value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(like);
  const digits = size >= 1_000 ? 2 : size >= 1 ? 4 : 8;
  return value.toLocaleString("en-US", {maximumFractionDigits: digits});
}

/** A large number in little room, such as 1.2M. @param {number} value */
export function shortWords(value) {
  return value.toLocaleString("en-US", {notation: "compact", maximumFractionDigits: 2});
}

/**
 * Which of ascending open times is that of the candle at a moment; the nearest one where there is none.
 *
 * @param {ArrayLike<number>} opens
 * @param {number} at
 * @param {number} step
 */
export function candleAt(opens, at, step) {
  let low = 0, high = opens.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (opens[middle] <= at) low = middle + 1;
    else high = middle;
  }
  const before = low - 1;
  if (before < 0) return opens.length ? 0 : -1;
  const isNearer = low < opens.length && opens[low] - at < at - opens[before] - step;
  return isNearer ? low : before;
}
