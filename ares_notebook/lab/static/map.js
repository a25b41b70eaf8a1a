import { askKernel } from "./kernel.js";
import { followTheme } from "./theme.js";

/** @typedef {{name: string, meaning: string, body: string, fill: string[], mark: string, ink: string[]}} Kind */
/** @typedef {{by: string, bounds: number[], series: string[][], titles: string[], headline: string}} Grid */
/** @typedef {{row: number, column: number}} Place Of the rows that are shown. */

// In pixels: a line, the labels above all, the narrowest and the widest cell.
const ROW = 20, HEAD = 36, LEAST = 11, MOST = 26;
// Of `KINDS` in coverage_grid.py.
const COMPLETE = 2, SO_FAR = 3, OPEN_GAP = 6;

/**
 * The rows whose title has all words of a text; by `gaps`, those with most open ones first, then with fewest complete cells.
 *
 * @param {Grid} grid @param {Uint8Array} cells @param {string} words @param {string} order
 */
export function rowsShown({titles, bounds}, cells, words, order) {
  const wanted = words.toLowerCase().split(/\s+/);
  const rows = [...titles.keys()].filter(row => wanted.every(word => titles[row].toLowerCase().includes(word)));
  if (order !== "gaps") return rows;
  const columns = bounds.length - 1;
  /** @param {number} row @param {number[]} kinds */
  const count = (row, ...kinds) => cells.subarray(row * columns, (row + 1) * columns).filter(kind => kinds.includes(kind)).length;
  return rows.map(row => [row, count(row, OPEN_GAP), count(row, COMPLETE, SO_FAR)])
    .sort((a, b) => b[1] - a[1] || a[2] - b[2] || a[0] - b[0]).map(each => each[0]);
}

/** The labels above the columns: years (of days, months) where they begin, below them months (days). @param {Grid} grid @param {number} width */
export function heads({by, bounds}, width) {
  /** @type {{column: number, text: string, line: number}[]} */
  const found = [];
  let last = "";
  bounds.slice(0, -1).forEach((bound, column) => {
    const day = new Date(bound).toISOString().slice(0, 10);
    const [above, below] = by === "month" ? [day.slice(0, 4), day.slice(5, 7)] : [day.slice(0, 7), day.slice(8)];
    const every = width >= 18 ? 1 : by === "month" ? 3 : 5;
    if (above !== last) {
      // The first may have no room before the next.
      if (found[0]?.line === 0 && found.length < 55 / width && column * width < 55) found.shift();
      found.push({column, text: above, line: 0});
    }
    if ((+below - 1) % every === 0 && +below < 31) found.push({column, text: below, line: 1});
    last = above;
  });
  return found;
}

/** Give a canvas a size, and a pen whose box is so large. @param {HTMLCanvasElement} canvas @param {number} width @param {number} height */
function penOf(canvas, width, height, x = width, y = height) {
  Object.assign(canvas, {width: Math.round(width * devicePixelRatio), height: Math.round(height * devicePixelRatio)});
  canvas.style.cssText = `width:${width}px;height:${height}px`;
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  pen.scale(canvas.width / x, canvas.height / y);
  return pen;
}

/** A canvas with the picture of a kind. @param {Kind} kind @param {number} theme @param {number} width @param {number} height */
function tile({body, fill, mark, ink}, theme, width, height) {
  const made = document.createElement("canvas"), pen = penOf(made, width, height, 12, 12);
  Object.assign(pen, {fillStyle: fill[theme], strokeStyle: ink[theme], lineWidth: 1.5, lineCap: "round"});
  if (body) pen.fill(new Path2D(body));
  if (mark) pen.stroke(new Path2D(mark));
  return made;
}

/** @param {View} view */
function render({model, el}) {
  const kernel = askKernel(model);
  el.classList.add("ares-widget", "ares-map");
  // A file of ours, map.html: no word of it comes from elsewhere.
  el.innerHTML = model.get("_page");
  /** @param {string} name @returns {any} */
  const part = name => el.querySelector(name);
  const [search, order, by] = ["input", ".ares-order", ".ares-by"].map(part);
  const [box, space, canvas, tip, stage] = [".ares-grid", ".ares-grid div", "canvas", ".ares-tip", ".ares-stage"].map(part);
  const [spoken, progress, alert, chart, cancel] = [".ares-spoken", "progress", ".ares-error", ".ares-chart", ".ares-cancel"].map(part);
  /** @type {HTMLButtonElement[]} */
  const acts = [...el.querySelectorAll("button")].filter(each => each !== cancel);
  /** @type {Kind[]} */
  const kinds = model.get("_kinds");
  /** @type {Grid} */
  let grid;
  let cells = new Uint8Array();
  /** @type {number[]} */
  let rows = [];
  /** Where the keyboard is. @type {Place} */
  let here = {row: 0, column: 0};
  /** Where a selection that is being drawn began. @type {Place | null} */
  let anchor = null;
  let columns = 0, wide = 0, tall = 0, names = 0, width = LEAST, frame = 0, told = 0, theme = 0, hovered = "";
  /** The button whose work Cancel ends. @type {any} */
  let pressed = box;
  /** @type {HTMLCanvasElement[]} */
  let pictures = [];
  /** @type {ReturnType<typeof heads>} */
  let labels = [];
  /** @type {Record<string, string>} */
  let colours = {};

  /** @param {string} name @param {object} content */
  const ask = async (name, content) => {
    if (name === "act") alert.textContent = "";
    try {
      return await kernel.ask(name, content);
    } catch (error) {
      alert.textContent = /** @type {Error} */ (error).message;
      return null;
    }
  };
  /** @param {Place} one @param {Place} other */
  const partOf = (one, other = one) => ({
    series: grid.series[rows[one.row]],
    start: grid.bounds[Math.min(one.column, other.column)],
    end: grid.bounds[Math.max(one.column, other.column) + 1],
  });
  /** @param {number} value @param {number} most */
  const within = (value, most) => Math.max(0, Math.min(value, most));

  function renew() {
    grid = {bounds: [], series: [], titles: [], by: "month", headline: "Looking into the cache …", ...model.get("_grid")};
    const bytes = model.get("_cells");
    cells = bytes?.byteLength ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : new Uint8Array();
    columns = Math.max(grid.bounds.length - 1, 0);
    by.value = grid.by;
    part(".ares-headline").textContent = grid.headline;
    box.setAttribute("aria-label", `Coverage map: ${grid.headline}`);
    stage.hidden = !columns;
    arrange();
    look();
  }

  /** The size of the box, or what it was while it is hidden, as it is while JupyterLab changes its theme. */
  function measure() {
    wide = box.clientWidth || wide;
    tall = box.clientHeight || tall;
  }

  /** Which lines are shown, and how large all is. */
  function arrange() {
    rows = rowsShown(grid, cells, search.value, order.value);
    here = {row: within(here.row, rows.length - 1), column: within(here.column, columns - 1)};
    hide();
    measure();
    // About seven pixels a letter; what is longer is drawn narrower.
    names = Math.min(Math.max(...grid.titles.map(title => title.length), 10) * 7.2 + 12, wide * 0.4);
    width = Math.min(MOST, Math.max(LEAST, (wide - names - 8) / Math.max(columns, 1)));
    pictures = [];
    labels = heads(grid, width);
    space.style.width = `${names + columns * width + 4}px`;
    space.style.height = `${HEAD + Math.max(rows.length, 1) * ROW + 4}px`;
    redraw();
  }

  /** What depends on the theme. */
  function look() {
    pictures = [];
    part(".ares-legend").replaceChildren(...kinds.filter((_, kind) => cells.includes(kind)).map(kind => {
      const item = document.createElement("li");
      item.title = kind.meaning;
      item.append(tile(kind, theme, 12, 12), kind.name);
      return item;
    }));
    redraw();
  }

  const fontOf = (/** @type {number} */ size) => `${size}px ${getComputedStyle(el).fontFamily}`;
  const redraw = () => { frame ||= requestAnimationFrame(draw); };

  function draw() {
    frame = 0;
    measure();
    const high = Math.min(tall, HEAD + Math.max(rows.length, 1) * ROW + 4);
    if (!wide || !columns) return;
    const cell = width - (width > 14 ? 2 : 1);
    if (!pictures.length) pictures = kinds.map(kind => tile(kind, theme, cell, ROW - 3));
    const pen = penOf(canvas, wide, high);
    const x = (/** @type {number} */ column) => names + column * width - box.scrollLeft;
    const y = (/** @type {number} */ row) => HEAD + row * ROW - box.scrollTop;
    const first = Math.floor(box.scrollTop / ROW), last = Math.min(rows.length, first + Math.ceil(high / ROW) + 1);
    const left = Math.floor(box.scrollLeft / width), right = Math.min(columns, left + Math.ceil((wide - names) / width) + 1);
    for (let row = first; row < last; row++) {
      for (let column = left; column < right; column++) {
        pen.drawImage(pictures[cells[rows[row] * columns + column]], x(column), y(row) + 1.5, cell, ROW - 3);
      }
    }
    /** @param {number} row @param {number} from @param {number} to @param {string} strokeStyle @param {number} lineWidth */
    const framed = (row, from, to, strokeStyle, lineWidth) => {
      Object.assign(pen, {strokeStyle, lineWidth});
      pen.strokeRect(x(from) - 1, y(row) + 0.5, (to - from) * width + (width > 14 ? 0 : 1), ROW - 1);
    };
    /** @param {string} colour @param {number[]} at */
    const filled = (colour, ...at) => {
      pen.fillStyle = colour;
      pen.fillRect(at[0], at[1], at[2], at[3]);
    };
    const chosen = model.get("_selection");
    const at = chosen.series ? rows.findIndex(row => `${grid.series[row]}` === `${chosen.series}`) : -1;
    if (at >= 0) {
      const from = grid.bounds.filter(bound => bound <= chosen.start_ms).length - 1;
      const to = grid.bounds.filter(bound => bound < chosen.end_ms).length;
      framed(at, from, to, colours.ground, 5);
      framed(at, from, to, colours.text, 2.5);
    }
    if (anchor) framed(anchor.row, Math.min(anchor.column, here.column), Math.max(anchor.column, here.column) + 1, colours.focus, 2.5);
    else if (box.matches(":focus")) framed(here.row, here.column, here.column + 1, colours.focus, 2);
    // The names on the left and the labels above, over what was scrolled below them.
    filled(colours.ground, 0, 0, names - 2, high);
    pen.fillStyle = colours.text;
    pen.font = fontOf(12);
    for (let row = first; row < last; row++) pen.fillText(grid.titles[rows[row]], 6, y(row) + 14, names - 14);
    if (!rows.length) pen.fillText("No series has these words", 6, y(0) + 14);
    filled(colours.ground, 0, 0, wide, HEAD - 1);
    filled(colours.line, 0, HEAD - 2, wide, 1);
    pen.beginPath();
    pen.rect(names - 2, 0, wide, HEAD);
    pen.clip();
    for (const {column, text, line} of labels) {
      Object.assign(pen, line ? {fillStyle: colours.quiet, font: fontOf(10)} : {fillStyle: colours.text, font: fontOf(12)});
      pen.fillText(text, x(column), line ? HEAD - 6 : 14);
    }
    el.dataset.drawn = `${+(el.dataset.drawn ?? 0) + 1}`;
    el.dataset.shape = JSON.stringify({names, head: HEAD, row: ROW, width, rows: rows.length, columns});
  }

  /** @param {PointerEvent} event @returns {Place | null} */
  function placeOf(event) {
    const edge = box.getBoundingClientRect();
    const x = event.clientX - edge.left - box.clientLeft - names, y = event.clientY - edge.top - box.clientTop - HEAD;
    const found = {row: Math.floor((y + box.scrollTop) / ROW), column: Math.floor((x + box.scrollLeft) / width)};
    return x >= 0 && y >= 0 && found.row < rows.length && found.column < columns ? found : null;
  }

  /** What the kernel knows of a cell, in a box beside it; aloud where the keyboard led there. @param {Place} at @param {boolean} aloud */
  async function tell(at, aloud) {
    const number = ++told, kind = kinds[cells[rows[at.row] * columns + at.column]];
    const answer = await ask("cell", partOf(at));
    if (!answer || number !== told) return;
    const lines = [...answer.content.lines, `(${kind.name}: ${kind.meaning})`];
    tip.textContent = lines.join("\n");
    if (aloud) spoken.textContent = lines.join(". ");
    // On top of all, since a cell of a notebook cuts off what hangs out of it.
    tip.showPopover();
    const edge = box.getBoundingClientRect(), {offsetWidth: wide, offsetHeight: high} = tip;
    const x = edge.left + names + (at.column + 1) * width - box.scrollLeft + 6;
    const y = edge.top + HEAD + (at.row + 1) * ROW - box.scrollTop + 6;
    const left = within(x + wide > innerWidth ? x - width - wide - 12 : x, innerWidth - wide);
    tip.style.cssText = `left:${left}px;top:${y + high > innerHeight ? y - high - ROW - 12 : y}px`;
  }

  function hide() {
    told++;
    tip.hidePopover();
  }

  /** @param {Place | null} one @param {Place} other */
  function select(one, other) {
    anchor = null;
    redraw();
    void ask("select", one ? partOf(one, other) : {});
  }

  function status() {
    const {words, error, busy, share} = model.get("_status"), chosen = model.get("_selection"), focused = document.activeElement;
    part(".ares-result").textContent = words;
    alert.textContent = error;
    progress.hidden = cancel.hidden = !busy;
    if (share) progress.value = share;
    else progress.removeAttribute("value");
    part(".ares-chosen").textContent = chosen.words ?? "Nothing is selected";
    for (const button of acts) button.disabled = Boolean(busy) || !chosen.series;
    // A button that is off or away loses the focus, and the keyboard its place.
    if (busy && acts.some(each => each === focused)) {
      pressed = focused;
      cancel.focus();
    } else if (!busy && focused === cancel) pressed.focus();
    redraw();
  }

  /** @type {any} */
  let child = null;
  async function below() {
    const reference = model.get("_chart");
    child?.remove();
    chart.replaceChildren();
    // What draws a widget inside another; not every host has it.
    const manager = /** @type {any} */ (model).widget_manager;
    if (reference && !manager?.get_model) chart.textContent = "Here a chart needs a cell of its own: ares.chart(…)";
    else if (reference) {
      child = await manager.create_view(await manager.get_model(reference.replace("IPY_MODEL_", "")));
      chart.replaceChildren(child.el);
    }
  }

  /** @type {Record<string, number[]>} */
  const STEPS = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -9999], End: [0, 9999],
    PageUp: [-15, 0], PageDown: [15, 0]};
  /** @param {KeyboardEvent} event */
  function press(event) {
    const step = STEPS[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || !rows.length) return;
    if (step) {
      anchor = event.shiftKey && !step[0] ? anchor ?? here : null;
      here = {row: within(here.row + step[0], rows.length - 1), column: within(here.column + step[1], columns - 1)};
      const x = here.column * width, y = here.row * ROW;
      box.scrollTop = Math.min(y, Math.max(box.scrollTop, y + ROW + HEAD + 4 - box.clientHeight));
      box.scrollLeft = Math.min(x, Math.max(box.scrollLeft, x + width + names + 4 - box.clientWidth));
      redraw();
      void tell(here, true);
    } else if (event.key === "Enter") select(anchor ?? here, here);
    else if (event.key === "Escape") {
      hide();
      select(null, here);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @type {Record<string, (event: any) => void>} */
  const heard = {
    pointermove(event) {
      const at = placeOf(event), name = JSON.stringify(at);
      if (anchor && at) {
        here = {row: anchor.row, column: at.column};
        redraw();
      } else if (name !== hovered) {
        hovered = name;
        if (at) void tell(at, false);
        else hide();
      }
    },
    pointerdown(event) {
      const at = event.button ? null : placeOf(event);
      if (!at) return;
      here = at;
      // A finger scrolls, a mouse draws.
      if (event.pointerType === "mouse") anchor = at;
      redraw();
    },
    pointerup(event) {
      const at = placeOf(event);
      if (at && !event.button) select(anchor ?? at, {row: at.row, column: at.column});
    },
    pointerleave() { hovered = ""; anchor = null; hide(); redraw(); },
    keydown: press, scroll() { hide(); redraw(); }, focus: redraw, blur: redraw,
  };
  for (const [name, call] of Object.entries(heard)) box.addEventListener(name, call);
  for (const input of [search, order]) input.addEventListener("input", () => { box.scrollTop = 0; arrange(); });
  by.addEventListener("change", () => ask("by", {by: by.value}));
  for (const button of [...acts, cancel]) button.addEventListener("click", () => ask("act", {verb: button.textContent}));
  /** @type {Record<string, () => void>} */
  const changes = {"change:_grid": renew, "change:_selection": status, "change:_status": status, "change:_chart": below};
  for (const [name, call] of Object.entries(changes)) model.on(name, call);
  const sizes = new ResizeObserver(arrange);
  const unfollow = followTheme(el, (given, name) => {
    colours = given;
    theme = +(name === "dark");
    look();
  });
  renew();
  status();
  void below();
  sizes.observe(box);
  return () => {
    sizes.disconnect();
    unfollow();
    cancelAnimationFrame(frame);
    for (const [name, call] of Object.entries(changes)) model.off(name, call);
    kernel.close();
    child?.remove();
  };
}

export default { render };
