import {askKernel} from "./kernel.js";
import {candleAt, changed, numberWords, shortWords, stepWords, ticks, timeTicks, timeWords} from "./scale.js";
import {COLOURS, followTheme} from "./theme.js";

/** @typedef {import("./scale.js").View} View */
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
const BAR_PIXELS = 4;
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
    /** @type {View} */
    this.bounds = viewOf(this.about.window);
    /** @type {View} */
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
    this.frame = 0;
    this.count = 0;
    /** @type {(() => void) | null} */
    this.settle = null;
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
      if (start === Math.round(this.view.start) && end === Math.round(this.view.end)) return;
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
    const sizes = new ResizeObserver(() => { this.redraw(); this.ask(); });
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
    if (!this.isClosed) this.root.dataset.busy = "0";
  }

  /** @param {View} view */
  async askOnce(view) {
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
      this.step.textContent = `a candle is ${stepWords(step)} · UTC`;
      this.tell(view);
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

  /** Tell the kernel where the view is; when it rests, also for the saved notebook. @param {View} view */
  tell({start, end}) {
    const [first, last] = this.model.get("view_ms");
    if (first === start && last === end) return;
    this.model.set("view_ms", [start, end]);
    this.model.save_changes();
    clearTimeout(this.resting);
    this.resting = setTimeout(() => { this.kernel.ask("rest", {}).catch(() => {}); }, REST_MS);
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
    // A finger that has left points nowhere.
    if (event.pointerType === "touch" && !this.held.size) this.redraw();
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
    const [opens] = drawn.columns;
    const last = opens.length - 1;
    const from = this.reading ?? (way > 0 ? view.start - 1 : view.end);
    let at = candleAt(opens, from, drawn.step);
    if (this.reading !== null) at += way;
    else if (opens[at] < view.start - drawn.step / 2) at += 1;
    at = Math.min(Math.max(at, 0), last);
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
    const hasVolume = Boolean(this.about.volume), hasLower = Boolean(this.model.get("lower"));
    const heights = [PRICE, hasVolume ? VOLUME : 0, hasLower ? LOWER : 0];
    const tall = heights.reduce((sum, each) => sum + (each ? each + SPACE : 0), 0) + TIMES;
    this.plot.style.height = `${tall}px`;
    const {canvas, width} = this, wide = width + RIGHT, sharp = devicePixelRatio || 1;
    const pixels = [Math.round(wide * sharp), Math.round(tall * sharp)];
    if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) [canvas.width, canvas.height] = pixels;
    const pen = canvas.getContext("2d");
    if (!pen) return;
    pen.setTransform(sharp, 0, 0, sharp, 0, 0);
    pen.fillStyle = this.colours.ground;
    pen.fillRect(0, 0, wide, tall);
    pen.font = `11px ${getComputedStyle(this.root).fontFamily}`;
    pen.lineWidth = 1;
    this.drawTimes(pen, tall);
    if (this.drawn) {
      this.drawGaps(pen, tall - TIMES);
      const panes = [{top: SPACE, height: PRICE}, {top: 2 * SPACE + PRICE, height: heights[1]}];
      const prices = this.drawCandles(pen, panes[0]);
      if (hasVolume) this.drawVolume(pen, panes[1]);
      if (hasLower) this.drawLower(pen, {top: tall - TIMES - LOWER, height: LOWER});
      this.drawCrosshair(pen, tall, prices);
    }
    this.showLegend();
    this.settle?.();
    this.settle = null;
  }

  /** The horizontal place of a moment. @param {number} moment */
  x(moment) { return (moment - this.view.start) / (this.view.end - this.view.start) * this.width; }

  /** @param {CanvasRenderingContext2D} pen @param {number} tall */
  drawTimes(pen, tall) {
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    for (const {at, words} of timeTicks(this.view, Math.max(this.width / 90, 1))) {
      const x = Math.round(this.x(at)) + 0.5;
      pen.fillStyle = this.colours.line;
      pen.fillRect(x - 0.5, SPACE, 1, tall - TIMES - SPACE);
      pen.fillStyle = this.colours.quiet;
      const half = pen.measureText(words).width / 2;
      if (x > half && x < this.width + RIGHT - half) pen.fillText(words, x, tall - TIMES / 2);
    }
  }

  /** Round numbers at the right of a pane; the function that gives the vertical place of a value.
   * @param {CanvasRenderingContext2D} pen @param {{top: number, height: number}} pane
   * @param {number} low @param {number} high @param {(value: number) => string} words */
  drawScale(pen, {top, height}, low, high, words) {
    const room = high - low || Math.abs(high) || 1;
    const [least, most] = high > low ? [low, high] : [low - room / 2, high + room / 2];
    const y = (/** @type {number} */ value) => top + height - (value - least) / (most - least) * height;
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    for (const value of ticks(least, most, height / 44)) {
      const at = Math.round(y(value));
      pen.fillStyle = this.colours.line;
      pen.fillRect(0, at, this.width, 1);
      pen.fillStyle = this.colours.quiet;
      pen.fillText(words(value), this.width + 6, Math.max(at, top + 5));
    }
    return {y, value: (/** @type {number} */ at) => least + (top + height - at) / height * (most - least)};
  }

  /** The first and the last of ascending open times that the view shows. @param {Float64Array} opens @param {number} step */
  shown(opens, step) {
    const first = candleAt(opens, this.view.start, step), last = candleAt(opens, this.view.end, step);
    return opens.length ? [Math.max(first, 0), Math.min(last, opens.length - 1)] : [0, -1];
  }

  /** @param {CanvasRenderingContext2D} pen @param {number} bottom */
  drawGaps(pen, bottom) {
    for (const [start, end, , reason] of /** @type {Drawn} */ (this.drawn).gaps) {
      const x = Math.max(this.x(start), 0), wide = Math.min(Math.max(this.x(end) - x, 2), this.width - x);
      if (wide <= 0 || this.x(end) < 0) continue;
      pen.globalAlpha = 0.22;
      pen.fillStyle = this.colours.gap;
      pen.fillRect(x, SPACE, wide, bottom - SPACE);
      pen.globalAlpha = 1;
      pen.fillRect(x, SPACE - 4, wide, 4);
      if (pen.measureText(reason).width + 12 < wide) {
        pen.textAlign = "left";
        pen.textBaseline = "top";
        pen.fillStyle = this.colours.text;
        pen.fillText(reason, x + 6, SPACE + 6);
      }
    }
  }

  /** @param {CanvasRenderingContext2D} pen @param {{top: number, height: number}} pane */
  drawCandles(pen, pane) {
    const {columns: [opens, open, high, low, close], step} = /** @type {Drawn} */ (this.drawn);
    const [first, last] = this.shown(opens, step), {factor} = this.about;
    let least = Infinity, most = -Infinity;
    for (let at = first; at <= last; at++) {
      if (low[at] < least) least = low[at];
      if (high[at] > most) most = high[at];
    }
    if (least > most) return null;
    const room = (most - least) * 0.04;
    const scale = this.drawScale(pen, pane, (least - room) * factor, (most + room) * factor, value => numberWords(value, most * factor));
    const {y} = scale, wide = this.x(step) - this.x(0), body = Math.max(wide * 0.7, 1);
    const [ups, downs] = [new Path2D(), new Path2D()];
    for (let at = first; at <= last; at++) {
      const x = this.x(opens[at]) + wide / 2, isUp = close[at] >= open[at], path = isUp ? ups : downs;
      const [top, end] = [Math.max(open[at], close[at]), Math.min(open[at], close[at])].map(each => y(each * factor));
      path.rect(x - 0.5, y(high[at] * factor), 1, top - y(high[at] * factor));
      path.rect(x - 0.5, end, 1, y(low[at] * factor) - end);
      const tall = Math.max(end - top, 1);
      path.rect(x - body / 2, top, body, tall);
      // Those that rise are hollow: colour is not all that tells.
      if (isUp && body > 4 && tall > 3) path.rect(x + body / 2 - 1, top + 1, 2 - body, tall - 2);
    }
    pen.save();
    pen.beginPath();
    pen.rect(0, 0, this.width, pane.top + pane.height + 2);
    pen.clip();
    pen.fillStyle = this.colours.up;
    pen.fill(ups, "evenodd");
    pen.fillStyle = this.colours.down;
    pen.fill(downs);
    pen.restore();
    return {...scale, pane, most: most * factor};
  }

  /** @param {CanvasRenderingContext2D} pen @param {{top: number, height: number}} pane */
  drawVolume(pen, pane) {
    const {columns: [opens, , , , , volume], step} = /** @type {Drawn} */ (this.drawn);
    const [first, last] = this.shown(opens, step);
    const {y} = this.drawScale(pen, pane, 0, volume.slice(first, last + 1).reduce((a, b) => Math.max(a, b || 0), 0), shortWords);
    const wide = this.x(step) - this.x(0), body = Math.max(wide * 0.7, 1);
    pen.fillStyle = this.colours.volume;
    for (let at = first; at <= last; at++) {
      const x = this.x(opens[at]) + (wide - body) / 2, left = Math.max(x, 0);
      pen.fillRect(left, y(volume[at]), Math.min(x + body, this.width) - left, pane.top + pane.height - y(volume[at]));
    }
    this.drawLabel(pen, pane, this.about.volume);
  }

  /** @param {CanvasRenderingContext2D} pen @param {{top: number, height: number}} pane */
  drawLower(pen, pane) {
    const {lower: [opens, , high, low, close], lowerStep: step} = /** @type {Drawn} */ (this.drawn);
    const about = this.about.lowers[this.model.get("lower")];
    const [first, last] = this.shown(opens, step), {factor, bars} = about;
    let [least, most] = bars ? [0, 0] : [Infinity, -Infinity];
    for (let at = first; at <= last; at++) {
      if (low[at] < least) least = low[at];
      if (high[at] > most) most = high[at];
    }
    if (least <= most && last >= first) {
      const {y} = this.drawScale(pen, pane, least * factor, most * factor, value => numberWords(value, Math.max(Math.abs(least), Math.abs(most)) * factor));
      const wide = this.x(step) - this.x(0);
      pen.save();
      pen.beginPath();
      pen.rect(0, pane.top - 1, this.width, pane.height + 2);
      pen.clip();
      pen.fillStyle = pen.strokeStyle = this.colours.lower;
      pen.beginPath();
      for (let at = first; at <= last; at++) {
        const x = this.x(opens[at]);
        if (bars) {
          // Payments of a longer time: from the lowest to the highest, and always from zero.
          const [top, end] = [Math.max(high[at], 0), Math.min(low[at], 0)].map(each => y(each * factor));
          pen.fillRect(x, top, Math.max(wide * 0.6, 1), Math.max(end - top, 1));
        } else {
          const isBroken = at === first || opens[at] - opens[at - 1] > 1.5 * step;
          pen[isBroken ? "moveTo" : "lineTo"](x + wide / 2, y(close[at] * factor));
        }
      }
      if (!bars) pen.stroke();
      pen.restore();
    }
    this.drawLabel(pen, pane, last < first ? `${about.words}: none in this window` : about.words);
  }

  /** What a pane shows. @param {CanvasRenderingContext2D} pen @param {{top: number, height: number}} pane @param {string} words */
  drawLabel(pen, {top}, words) {
    pen.textAlign = "left";
    pen.textBaseline = "top";
    pen.globalAlpha = 0.85;
    pen.fillStyle = this.colours.ground;
    pen.fillRect(2, top, pen.measureText(words).width + 6, 14);
    pen.globalAlpha = 1;
    pen.fillStyle = this.colours.quiet;
    pen.fillText(words, 5, top + 1);
  }

  /** The candle that is read, by keys or by the pointer; -1 if none is. */
  get candle() {
    const {drawn, pointer, view, width} = this;
    if (!drawn || (this.reading === null && (!pointer || pointer.x > width))) return -1;
    const at = this.reading ?? view.start + (pointer?.x ?? 0) / width * (view.end - view.start);
    return candleAt(drawn.columns[0], at, drawn.step);
  }

  /** @param {CanvasRenderingContext2D} pen @param {number} tall
   * @param {ReturnType<Chart["drawCandles"]>} prices */
  drawCrosshair(pen, tall, prices) {
    const {candle, drawn, pointer} = this;
    if (candle < 0 || !drawn) return;
    const moment = this.reading ?? drawn.columns[0][candle];
    const isGap = moment !== drawn.columns[0][candle];
    const x = Math.round(this.x(moment + (isGap ? 0 : drawn.step / 2)));
    pen.fillStyle = this.colours.quiet;
    pen.fillRect(x, SPACE, 1, tall - TIMES - SPACE);
    const {width} = this;
    this.chip(pen, timeWords(moment), x, tall - TIMES / 2, true);
    if (!pointer || !prices || pointer.y < prices.pane.top || pointer.y > prices.pane.top + prices.pane.height) return;
    pen.fillStyle = this.colours.quiet;
    pen.fillRect(0, Math.round(pointer.y), width, 1);
    this.chip(pen, numberWords(prices.value(pointer.y), prices.most), width + 2, pointer.y, false);
  }

  /** A word on an axis. @param {CanvasRenderingContext2D} pen @param {string} words
   * @param {number} x @param {number} y @param {boolean} isCentred */
  chip(pen, words, x, y, isCentred) {
    const wide = pen.measureText(words).width + 10;
    const left = Math.min(Math.max(isCentred ? x - wide / 2 : x, 0), this.width + RIGHT - wide);
    pen.fillStyle = this.colours.text;
    pen.fillRect(left, y - 9, wide, 18);
    pen.fillStyle = this.colours.ground;
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    pen.fillText(words, left + 5, y);
  }

  /** Values of the candle that is read, else of the last one of the view; and the gap that is there. */
  showLegend() {
    const {drawn, view, pointer, width} = this;
    if (!drawn?.columns[0].length) return;
    const read = this.candle;
    const at = read >= 0 ? read : candleAt(drawn.columns[0], view.end - 1, drawn.step);
    const parts = this.wordsOf(at).map((words, index) => {
      const cut = index ? words.lastIndexOf(" ", index > 5 ? words.search(/[-–]?\d/) : undefined) : -1;
      return make("span", {}, ...(cut > 0 ? [make("b", {}, words.slice(0, cut)), words.slice(cut + 1)] : [words]));
    });
    const moment = this.reading ?? (pointer && view.start + pointer.x / width * (view.end - view.start));
    const near = (view.end - view.start) / width * 2;
    const gap = moment === null ? null : drawn.gaps.find(([start, end]) => start - near <= moment && moment < end + near);
    if (gap) parts.push(make("span", {class: "ares-gap"}, gapWords(gap)));
    this.legend.replaceChildren(...parts);
  }
}

/** A gap in words. @param {Gap} gap */
function gapWords([start, end, rows, reason]) {
  const many = rows === null ? "" : rows === 1 ? ", 1 row" : `, ${rows.toLocaleString("en-US")} rows`;
  return `gap from ${timeWords(start)} to ${timeWords(end)}${many}: ${reason}`;
}

export default {
  /** @param {View & {model: Model, el: HTMLElement}} view */
  render({model, el}) {
    const chart = new Chart(model, el);
    return () => chart.close();
  },
};
