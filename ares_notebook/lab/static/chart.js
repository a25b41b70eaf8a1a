import {askKernel} from "./kernel.js";
import {candleAt, changed, numberWords, shortWords, stepWords, ticks, timeTicks, timeWords} from "./scale.js";
import {COLOURS, followTheme} from "./theme.js";

/** @typedef {{top: number, height: number}} Pane */
/** @typedef {[number, number, number | null, string, string]} Gap start, end, rows, reason, note */
/**
 * @typedef {object} Drawn What the kernel has answered.
 * @property {number} step
 * @property {number} lowerStep
 * @property {Gap[]} gaps
 * @property {Float64Array[]} columns open time, open, high, low, close, volume
 * @property {Float64Array[]} lower open time, open, high, low, close
 */

const PRICE = 280, VOLUME = 56, LOWER = 76, TIMES = 22, SPACE = 10, RIGHT = 78;
// Narrower ones cannot be told apart.
const BAR_PIXELS = 3;
// So long after the last change a view is one that a saved notebook shows.
const REST_MS = 600;
const KEYS = "Left and Right move, + and − zoom, Home and End go to the first and last candle, 0 shows all. "
  + "Shift with Left and Right reads candle by candle, Shift with Up and Down gap by gap. Escape ends reading.";

/**
 * An element with text, which is never taken for HTML.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} kind
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
function make(kind, attributes = {}, ...children) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** @param {DataView[]} buffers */
const numbersOf = buffers => buffers.map(each =>
  new Float64Array(each.buffer.slice(each.byteOffset, each.byteOffset + each.byteLength)));

class Chart {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    this.about = model.get("about");
    this.kernel = askKernel(model);
    const viewOf = (/** @type {number[]} */ [start, end]) => ({start, end});
    /** @type {TimeWindow} */
    this.bounds = viewOf(this.about.window);
    /** @type {TimeWindow} */
    this.view = viewOf(model.get("view_ms"));
    /** @type {Drawn | null} */
    this.drawn = null;
    /** @type {{x: number, y: number} | null} */
    this.pointer = null;
    // The open time of the candle, or the start of the gap, that is read by keys.
    /** @type {number | null} */
    this.reading = null;
    /** @type {Map<number, {x: number, y: number}>} */
    this.held = new Map();
    this.isAsking = this.isStale = this.isClosed = false;
    this.colours = COLOURS.light;
    this.frame = this.count = 0;
    // What the kernel knows as the view, and what a saved notebook shows.
    this.told = this.rested = model.get("view_ms").join();
    /** @type {(() => void) | null} */
    this.settle = null;
    /** @type {[string, number][]} */
    this.scales = [];
    const {title, lowers} = this.about;
    const button = (/** @type {string} */ words, /** @type {string} */ name, /** @type {object} */ change) => {
      const made = make("button", {type: "button", "aria-label": name, title: name}, words);
      made.addEventListener("click", () => this.change(change));
      return made;
    };
    this.select = make("select", {"aria-label": "Below the candles"}, make("option", {value: ""}, "Volume only"));
    for (const name of Object.keys(lowers)) this.select.append(make("option", {value: name}, name));
    this.select.value = this.model.get("lower");
    this.select.hidden = !Object.keys(lowers).length;
    this.canvas = make("canvas", {"aria-hidden": "true"});
    this.pen = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    this.plot = make("div", {
      class: "ares-plot", tabindex: "0", role: "application", "aria-roledescription": "candle chart",
      "aria-label": title, "aria-description": KEYS, "data-lm-suppress-shortcuts": "true",
    }, this.canvas);
    this.legend = make("div", {class: "ares-legend"});
    this.spoken = make("div", {class: "ares-spoken", role: "status", "aria-live": "polite"});
    this.error = make("div", {class: "ares-error", role: "alert"});
    this.step = make("span", {class: "ares-quiet"});
    this.root = make("section", {class: "ares-widget ares-chart", "aria-label": `Chart of ${title}`, "data-drawn": "0"},
      make("div", {class: "ares-bar"},
        make("span", {class: "ares-title"}, title), this.step,
        make("span", {class: "ares-grow"}), this.select,
        button("−", "Zoom out", {factor: 2}), button("+", "Zoom in", {factor: 0.5}), button("All", "Show all", {factor: Infinity}),
        make("details", {}, make("summary", {}, "Keys"), make("div", {}, KEYS))),
      this.legend, this.error, this.plot, this.spoken);
    el.replaceChildren(this.root);
    this.ends = [followTheme(this.root, colours => { this.colours = colours; this.redraw(); }), this.listen()];
    this.ask();
  }

  /** Hear the user, the model and the size of the page; returns a function that ends it. */
  listen() {
    const {plot, model} = this;
    this.select.addEventListener("change", () => {
      model.set("lower", this.select.value);
      model.save_changes();
    });
    const follow = () => {
      const [start, end] = model.get("view_ms");
      // The view may have changed since it was told.
      if (`${start},${end}` === this.told) return;
      this.view = {start, end};
      this.redraw();
      this.ask();
    };
    const lower = () => { this.select.value = model.get("lower"); this.redraw(); this.ask(); };
    model.on("change:view_ms", follow);
    model.on("change:lower", lower);
    plot.addEventListener("wheel", event => this.wheel(event), {passive: false});
    plot.addEventListener("pointerdown", event => this.press(event));
    plot.addEventListener("pointermove", event => this.move(event));
    for (const name of /** @type {const} */ (["pointerup", "pointercancel"])) {
      plot.addEventListener(name, event => this.release(event));
    }
    plot.addEventListener("pointerleave", () => { this.pointer = null; this.redraw(); });
    plot.addEventListener("dblclick", () => this.change({factor: Infinity}));
    plot.addEventListener("keydown", event => this.key(event));
    let wide = plot.clientWidth;
    const sizes = new ResizeObserver(() => {
      if (plot.clientWidth === wide) return;
      wide = plot.clientWidth;
      this.redraw();
      this.ask();
    });
    sizes.observe(plot);
    // A zoom of the page, or another screen, changes the pixels and not the size.
    const sharpness = () => this.redraw();
    addEventListener("resize", sharpness);
    return () => {
      model.off("change:view_ms", follow);
      model.off("change:lower", lower);
      sizes.disconnect();
      removeEventListener("resize", sharpness);
    };
  }

  close() {
    this.isClosed = true;
    for (const end of this.ends) end();
    this.kernel.close();
    clearTimeout(this.resting);
    cancelAnimationFrame(this.frame);
    this.drawn = null;
    this.canvas.width = this.canvas.height = 0;
  }

  // --- the view ---

  get width() { return Math.max(this.plot.clientWidth - RIGHT, 1); }

  /** @param {{by?: number, factor?: number, at?: number}} change */
  change(change) {
    const before = this.view;
    this.view = changed(before, change, this.bounds, 8 * this.about.row);
    if (this.view.start === before.start && this.view.end === before.end) return false;
    this.redraw();
    this.ask();
    return true;
  }

  /** Ask for the candles of the view; while one answer is awaited, the next question waits. */
  async ask() {
    this.root.dataset.busy = "1";
    if (this.isAsking) {
      this.isStale = true;
      return;
    }
    this.isAsking = true;
    while (!this.isClosed) {
      this.isStale = false;
      const view = {start: Math.round(this.view.start), end: Math.round(this.view.end)};
      await this.askOnce(view);
      if (!this.isStale) break;
    }
    this.isAsking = false;
    if (this.isClosed) return;
    this.root.dataset.busy = "0";
    clearTimeout(this.resting);
    if (this.rested === this.told) return;
    this.resting = setTimeout(() => {
      this.rested = this.told;
      this.kernel.ask("rest", {}).catch(() => {});
    }, REST_MS);
  }

  /** @param {TimeWindow} view */
  async askOnce(view) {
    this.told = `${view.start},${view.end}`;
    try {
      const lower = this.model.get("lower");
      const bars = Math.max(Math.floor(this.width / BAR_PIXELS), 1);
      const answer = await this.kernel.ask("candles", {...view, bars, lower});
      if (!answer || this.isClosed) return;
      const {step, lowerStep, gaps, text} = answer.content;
      const all = numbersOf(answer.buffers);
      this.drawn = {step, lowerStep, gaps, columns: all.slice(0, 6), lower: all.slice(6)};
      this.error.textContent = "";
      this.plot.setAttribute("aria-label", text);
      this.step.textContent = `${stepWords(step)} candles · UTC`;
    } catch (error) {
      this.error.textContent = error instanceof Error ? error.message : String(error);
    }
    await new Promise(resolve => {
      this.settle = () => resolve(null);
      this.redraw();
    });
    this.root.dataset.drawn = `${++this.count}`;
    this.root.dataset.view = `${view.start},${view.end}`;
  }

  // --- what the user does ---

  /** Where a pointer is. @param {MouseEvent} event */
  place(event) {
    const {left, top} = this.plot.getBoundingClientRect();
    return {x: event.clientX - left, y: event.clientY - top};
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    const size = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
    const across = event.shiftKey ? event.deltaY : event.deltaX;
    const isAcross = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    const at = Math.min(this.place(event).x / this.width, 1);
    const has = this.change(isAcross
      ? {by: across * size / this.width} : {factor: Math.exp(event.deltaY * size * 0.0015), at});
    // Where there is no more to see, the wheel is the page's.
    if (has) event.preventDefault();
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (event.button) return;
    this.plot.setPointerCapture(event.pointerId);
    this.plot.classList.add("ares-held");
    this.held.set(event.pointerId, this.place(event));
  }

  /** @param {PointerEvent} event */
  move(event) {
    const to = this.place(event), from = this.held.get(event.pointerId);
    this.pointer = to;
    this.reading = null;
    if (from) {
      const other = [...this.held].find(([id]) => id !== event.pointerId)?.[1];
      this.held.set(event.pointerId, to);
      if (other) {
        const [before, after] = [from, to].map(each => Math.max(Math.abs(each.x - other.x), 10));
        this.change({factor: before / after, at: (to.x + other.x) / 2 / this.width});
      } else {
        this.change({by: (from.x - to.x) / this.width});
      }
    }
    this.redraw();
  }

  /** @param {PointerEvent} event */
  release(event) {
    this.held.delete(event.pointerId);
    if (!this.held.size) this.plot.classList.remove("ares-held");
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const span = this.view.end - this.view.start;
    const acts = {
      ArrowLeft: () => this.change({by: -0.1}), ArrowRight: () => this.change({by: 0.1}),
      PageUp: () => this.change({by: -1}), PageDown: () => this.change({by: 1}),
      Home: () => this.change({by: (this.bounds.start - this.view.start) / span}),
      End: () => this.change({by: (this.bounds.end - this.view.end) / span}),
      "+": () => this.change({factor: 0.5}), "=": () => this.change({factor: 0.5}),
      "-": () => this.change({factor: 2}), 0: () => this.change({factor: Infinity}),
      Escape: () => { this.reading = this.pointer = null; this.spoken.textContent = ""; this.redraw(); },
    };
    const reads = {
      ArrowLeft: () => this.readCandle(-1), ArrowRight: () => this.readCandle(1),
      ArrowUp: () => this.readGap(-1), ArrowDown: () => this.readGap(1),
    };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = /** @type {Record<string, () => void>} */ (event.shiftKey ? {...acts, ...reads} : acts)[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  /** Read the next candle, or the one before, and show it. @param {1 | -1} way */
  readCandle(way) {
    const {view, drawn} = this;
    if (!drawn?.columns[0].length) return;
    const [opens] = drawn.columns, from = this.reading ?? (way > 0 ? view.start : view.end - 1);
    const next = candleAt(opens, from, drawn.step) + (this.reading === null ? 0 : way);
    const at = Math.min(Math.max(next, 0), opens.length - 1);
    this.show(opens[at], drawn.step);
    this.spoken.textContent = this.wordsOf(at).join(", ");
  }

  /** Read the next gap of what is drawn, or the one before. @param {1 | -1} way */
  readGap(way) {
    const from = this.reading ?? (way > 0 ? -Infinity : Infinity);
    const gaps = this.drawn?.gaps ?? [];
    const gap = way > 0 ? gaps.find(([start]) => start > from) : gaps.findLast(([start]) => start < from);
    if (gap) this.show(gap[0], gap[1] - gap[0]);
    this.spoken.textContent = gap ? gapWords(gap) : "no more gaps here";
  }

  /** Let what is read be in the view. @param {number} at @param {number} length */
  show(at, length) {
    this.reading = at;
    this.pointer = null;
    const {start, end} = this.view, span = end - start;
    if (at < start) this.change({by: (at - start) / span - 0.05});
    else if (at + length > end) this.change({by: (at + length - end) / span + 0.05});
    this.redraw();
  }

  /** The words of a candle. @param {number} at */
  wordsOf(at) {
    const {columns: [opens, open, high, low, close, volume]} = /** @type {Drawn} */ (this.drawn);
    const {factor} = this.about, like = high[at] * factor;
    const words = [timeWords(opens[at])];
    for (const [name, column] of /** @type {[string, Float64Array][]} */ ([["open", open], ["high", high], ["low", low], ["close", close]])) {
      words.push(`${name} ${numberWords(column[at] * factor, like)}`);
    }
    if (this.about.volume) words.push(`volume ${numberWords(volume[at])}`);
    const lower = this.lowerAt(opens[at]);
    if (lower) words.push(lower);
    return words;
  }

  /** What the lowest pane has at a moment, in words. @param {number} moment */
  lowerAt(moment) {
    const drawn = /** @type {Drawn} */ (this.drawn), about = this.about.lowers[this.model.get("lower")];
    const at = about ? candleAt(drawn.lower[0], moment + drawn.step - 1, drawn.lowerStep) : -1;
    if (at < 0) return "";
    const [name, unit] = about.words.split(/, (?=[^,]*$)/);
    return `${name} ${numberWords(drawn.lower[4][at] * about.factor)}${unit ? ` ${unit}` : ""}`;
  }

  // --- what is drawn ---

  /** Draw before the next frame of the screen. */
  redraw() {
    if (!this.frame && !this.isClosed) this.frame = requestAnimationFrame(() => { this.frame = 0; this.draw(); });
  }

  draw() {
    const {about, canvas, colours, pen, width} = this, lower = about.lowers[this.model.get("lower")];
    const heights = [PRICE, about.volume ? VOLUME : 0, lower ? LOWER : 0];
    const tall = heights.reduce((sum, each) => sum + (each && each + SPACE), TIMES);
    const wide = width + RIGHT, sharp = devicePixelRatio || 1;
    this.plot.style.height = `${tall}px`;
    const pixels = [Math.round(wide * sharp), Math.round(tall * sharp)];
    if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) [canvas.width, canvas.height] = pixels;
    pen.setTransform(sharp, 0, 0, sharp, 0, 0);
    pen.font = `11px ${getComputedStyle(this.root).fontFamily}`;
    this.fill(colours.ground, 0, 0, wide, tall);
    this.scales = [];
    const moments = timeTicks(this.view, Math.max(width / 90, 1));
    for (const {at} of moments) this.fill(colours.line, Math.round(this.x(at)), SPACE, 1, tall - TIMES - SPACE);
    let prices = null;
    if (this.drawn) {
      this.drawGaps(tall - TIMES);
      prices = this.drawCandles({top: SPACE, height: PRICE});
      if (about.volume) this.drawVolume({top: 2 * SPACE + PRICE, height: VOLUME});
      if (lower) this.drawLower({top: tall - TIMES - LOWER, height: LOWER}, lower);
    }
    // What reaches beyond the view.
    this.fill(colours.ground, width, 0, RIGHT, tall);
    for (const [words, y] of this.scales) this.write(words, width + 6, y);
    for (const {at, words} of moments) {
      const half = pen.measureText(words).width / 2, x = this.x(at);
      if (x > half && x + half < wide) this.write(words, x - half, tall - TIMES / 2);
    }
    if (this.drawn) this.drawCrosshair(tall, prices);
    this.showLegend();
    this.settle?.();
    this.settle = null;
  }

  /** The horizontal place of a moment. @param {number} moment */
  x(moment) { return (moment - this.view.start) / (this.view.end - this.view.start) * this.width; }

  /** @param {string} colour @param {number} x @param {number} y @param {number} wide @param {number} tall */
  fill(colour, x, y, wide, tall) {
    this.pen.fillStyle = colour;
    this.pen.fillRect(x, y, wide, tall);
  }

  /** Text at the height of its middle. @param {string} words @param {number} x @param {number} y @param {string} [colour] */
  write(words, x, y, colour = this.colours.quiet) {
    this.pen.textBaseline = "middle";
    this.pen.fillStyle = colour;
    this.pen.fillText(words, x, y);
  }

  /**
   * The scale of a pane, with lines at round numbers.
   *
   * @param {Pane} pane
   * @param {number} low
   * @param {number} high
   * @param {(value: number) => string} words
   */
  scale({top, height}, low, high, words) {
    const room = high > low ? 0 : Math.abs(high) / 2 || 1, least = low - room, most = high + room;
    const y = (/** @type {number} */ value) => top + (most - value) / (most - least) * height;
    for (const value of ticks(least, most, Math.max(height / 36, 2))) {
      this.fill(this.colours.line, 0, Math.round(y(value)), this.width, 1);
      this.scales.push([words(value), Math.max(y(value), top + 5)]);
    }
    return {y, value: (/** @type {number} */ at) => most - (at - top) / height * (most - least)};
  }

  /**
   * Which of some candles the view shows, from the first to the last, and their lowest and highest value.
   *
   * @param {Float64Array[]} columns
   * @param {number} step
   */
  shown([opens, , high, low], step) {
    const first = Math.max(candleAt(opens, this.view.start, step), 0), last = candleAt(opens, this.view.end - 1, step);
    let least = Infinity, most = -Infinity;
    for (let at = first; at <= last; at++) {
      if (low[at] < least) least = low[at];
      if (high[at] > most) most = high[at];
    }
    const wide = this.x(step) - this.x(0);
    return {first, last, least, most, wide, body: Math.max(wide * 0.7, 1)};
  }

  /** @param {number} bottom */
  drawGaps(bottom) {
    const {colours, pen, width} = this;
    for (const [start, end, , reason] of /** @type {Drawn} */ (this.drawn).gaps) {
      const x = Math.max(this.x(start), 0), wide = Math.min(Math.max(this.x(end) - x, 2), width - x);
      if (wide <= 0 || this.x(end) < 0) continue;
      pen.globalAlpha = 0.22;
      this.fill(colours.gap, x, SPACE, wide, bottom - SPACE);
      pen.globalAlpha = 1;
      this.fill(colours.gap, x, SPACE - 4, wide, 4);
      if (pen.measureText(reason).width + 12 < wide) this.write(reason, x + 6, SPACE + 10, colours.text);
    }
  }

  /** @param {Pane} pane */
  drawCandles(pane) {
    const {columns, step} = /** @type {Drawn} */ (this.drawn), [opens, open, high, low, close] = columns;
    const {first, last, least, most, wide, body} = this.shown(columns, step), {factor} = this.about;
    if (least > most) return null;
    const room = (most - least) * 0.04;
    const scale = this.scale(pane, (least - room) * factor, (most + room) * factor, value => numberWords(value, most * factor));
    const [ups, downs] = [new Path2D(), new Path2D()];
    for (let at = first; at <= last; at++) {
      const isUp = close[at] >= open[at], path = isUp ? ups : downs, x = this.x(opens[at]) + wide / 2;
      const [y1, y2, y3, y4] = [high[at], Math.max(open[at], close[at]), Math.min(open[at], close[at]), low[at]]
        .map(each => scale.y(each * factor));
      const tall = Math.max(y3 - y2, 1);
      path.rect(x - 0.5, y1, 1, y2 - y1);
      path.rect(x - 0.5, y3, 1, y4 - y3);
      path.rect(x - body / 2, y2, body, tall);
      // Those that rise are hollow: colour is not all that tells.
      if (isUp && body > 4 && tall > 3) path.rect(x - body / 2 + 1, y2 + 1, body - 2, tall - 2);
    }
    this.pen.fillStyle = this.colours.up;
    this.pen.fill(ups, "evenodd");
    this.pen.fillStyle = this.colours.down;
    this.pen.fill(downs);
    return {...scale, pane, most: most * factor};
  }

  /** @param {Pane} pane */
  drawVolume(pane) {
    const {columns, step} = /** @type {Drawn} */ (this.drawn), [opens, , , , , volume] = columns;
    const {first, last, wide, body} = this.shown(columns, step);
    let most = 0;
    for (let at = first; at <= last; at++) most = Math.max(most, volume[at] || 0);
    const {y} = this.scale(this.labelled(pane, this.about.volume), 0, most, shortWords);
    for (let at = first; at <= last; at++) {
      this.fill(this.colours.volume, this.x(opens[at]) + (wide - body) / 2, y(volume[at]), body, y(0) - y(volume[at]));
    }
  }

  /** @param {Pane} pane @param {{words: string, factor: number, bars: boolean}} about */
  drawLower(pane, {words, factor, bars}) {
    const {lower, lowerStep: step} = /** @type {Drawn} */ (this.drawn), [opens, , high, low, close] = lower;
    const {first, last, least, most, wide, body} = this.shown(lower, step), {pen} = this;
    const inside = this.labelled(pane, least > most ? `${words}: none in this window` : words);
    if (least > most) return;
    const ends = bars ? [Math.min(least, 0), Math.max(most, 0)] : [least, most];
    const {y} = this.scale(inside, ends[0] * factor, ends[1] * factor,
      value => numberWords(value, Math.max(Math.abs(ends[0]), Math.abs(ends[1])) * factor));
    pen.strokeStyle = this.colours.lower;
    pen.beginPath();
    for (let at = first; at <= last; at++) {
      const x = this.x(opens[at]);
      if (bars) {
        // Of several payments from the lowest to the highest, and always from zero.
        const top = y(Math.max(high[at], 0) * factor), end = y(Math.min(low[at], 0) * factor);
        this.fill(this.colours.lower, x, top, body, Math.max(end - top, 1));
      } else {
        const isBroken = at === first || opens[at] - opens[at - 1] > 1.5 * step;
        pen[isBroken ? "moveTo" : "lineTo"](x + wide / 2, y(close[at] * factor));
      }
    }
    pen.stroke();
  }

  /** Write what a pane shows; what is left of it. @param {Pane} pane @param {string} words */
  labelled({top, height}, words) {
    this.write(words, 4, top + 5);
    return {top: top + 14, height: height - 14};
  }

  /** The candle that is read, by keys or by the pointer; -1 if none is. */
  get candle() {
    const {drawn, pointer, view, width} = this;
    if (!drawn || (this.reading === null && (!pointer || pointer.x > width))) return -1;
    const at = this.reading ?? view.start + (pointer?.x ?? 0) / width * (view.end - view.start);
    return candleAt(drawn.columns[0], at, drawn.step);
  }

  /** @param {number} tall @param {ReturnType<Chart["drawCandles"]>} prices */
  drawCrosshair(tall, prices) {
    const {candle, drawn, pointer, width} = this;
    if (candle < 0 || !drawn) return;
    const open = drawn.columns[0][candle], moment = this.reading ?? open;
    const x = Math.round(this.x(moment === open ? open + drawn.step / 2 : moment));
    this.fill(this.colours.quiet, x, SPACE, 1, tall - TIMES - SPACE);
    const words = timeWords(moment);
    this.chip(words, x - this.pen.measureText(words).width / 2, tall - TIMES / 2);
    if (!pointer || !prices || pointer.y < prices.pane.top || pointer.y > prices.pane.top + prices.pane.height) return;
    this.fill(this.colours.quiet, 0, Math.round(pointer.y), width, 1);
    this.chip(numberWords(prices.value(pointer.y), prices.most), width + 6, pointer.y);
  }

  /** A word on an axis. @param {string} words @param {number} x @param {number} y */
  chip(words, x, y) {
    const wide = this.pen.measureText(words).width, left = Math.min(Math.max(x, 5), this.width + RIGHT - wide - 5);
    this.fill(this.colours.text, left - 5, y - 9, wide + 10, 18);
    this.write(words, left, y, this.colours.ground);
  }

  /** Values of the candle that is read, else of the last one of the view; and the gap that is there. */
  showLegend() {
    const {drawn, view, pointer, width} = this;
    if (!drawn?.columns[0].length) return;
    const read = this.candle, [opens] = drawn.columns;
    const at = read >= 0 ? read : candleAt(opens, view.end - 1, drawn.step);
    const moment = this.reading ?? (pointer && view.start + pointer.x / width * (view.end - view.start));
    const isThere = moment === null || (opens[at] <= moment && moment < opens[at] + drawn.step);
    const parts = (isThere ? this.wordsOf(at) : [timeWords(moment), "no candle"]).map((words, index) => {
      const [, name, value] = (isThere && index && words.match(/^(.*?) ([-–]?[\d–].*)$/)) || [];
      return make("span", {}, ...(name ? [make("b", {}, name), value] : [words]));
    });
    const near = (view.end - view.start) / width * 2;
    const gap = moment === null ? null : drawn.gaps.find(([start, end]) => start - near <= moment && moment < end + near);
    this.legend.replaceChildren(make("div", {}, ...parts), make("div", {class: "ares-gap"}, gap ? gapWords(gap) : ""));
  }
}

/** A gap in words. @param {Gap} gap */
function gapWords([start, end, rows, reason]) {
  const many = rows === null ? "" : rows === 1 ? ", 1 row" : `, ${rows.toLocaleString("en-US")} rows`;
  return `gap from ${timeWords(start)} to ${timeWords(end)}${many}: ${reason}`;
}

export default {
  /** @param {Shown} view */
  render({model, el}) {
    const chart = new Chart(model, el);
    return () => chart.close();
  },
};
