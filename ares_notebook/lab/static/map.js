import { askKernel } from "./kernel.js";
import { followTheme } from "./theme.js";

/** @typedef {{name: string, meaning: string, body: string, fill: string[], mark: string, ink: string[]}} Kind */
/** @typedef {{by: string, bounds: number[], series: string[][], titles: string[], words: string[], headline: string}} Grid */
/** @typedef {{row: number, column: number}} Place */

const ROW = 20;
const HEAD = 36;
const LEAST = 11;
const MOST = 26;
const OPEN = 6;
const WHOLE = [2, 3];

/**
 * The rows whose title has all words of a text, in an order.
 *
 * @param {Grid} grid
 * @param {Uint8Array} cells
 * @param {string} words
 * @param {string} order "name", or "gaps": most cells with an open gap first, then with the fewest complete
 */
export function rowsShown(grid, cells, words, order) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const columns = Math.max(grid.bounds.length - 1, 0);
  const rows = grid.titles.map((_, row) => row)
    .filter(row => wanted.every(word => grid.titles[row].toLowerCase().includes(word)));
  if (order !== "gaps") return rows;
  const counts = rows.map(row => {
    let open = 0;
    let whole = 0;
    for (let at = row * columns; at < (row + 1) * columns; at++) {
      open += cells[at] === OPEN ? 1 : 0;
      whole += WHOLE.includes(cells[at]) ? 1 : 0;
    }
    return {row, open, whole};
  });
  counts.sort((a, b) => b.open - a.open || a.whole - b.whole || a.row - b.row);
  return counts.map(each => each.row);
}

/**
 * The labels above the columns: years or months where they begin, and below them months or days.
 *
 * @param {Grid} grid
 * @param {number} width of a column
 * @returns {{column: number, text: string, line: number}[]}
 */
export function heads(grid, width) {
  const found = [];
  const isMonth = grid.by === "month";
  for (let column = 0; column < grid.bounds.length - 1; column++) {
    const [year, month, day] = new Date(grid.bounds[column]).toISOString().slice(0, 10).split("-");
    const isFirst = column === 0;
    if (isMonth) {
      if (isFirst || month === "01") found.push({column, text: year, line: 0});
      if (width >= 18 || +month % 3 === 1) found.push({column, text: month, line: 1});
    } else {
      if (isFirst || day === "01") found.push({column, text: `${year}-${month}`, line: 0});
      if (width >= 18 || (+day % 5 === 0 && +day < 30) || day === "01") found.push({column, text: day, line: 1});
    }
  }
  const apart = found.filter(each => each.line === 0);
  // The first year or month may have no room before the next.
  if (apart.length > 1 && (apart[1].column - apart[0].column) * width < 52) found.splice(found.indexOf(apart[0]), 1);
  return found;
}

/** @param {string} name @param {object} [fields] @param {(Node | string)[]} inside */
function made(name, fields = {}, ...inside) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(fields)) {
    if (key.includes("-") || key === "role") element.setAttribute(key, value);
    else Object.assign(element, {[key]: value});
  }
  element.append(...inside);
  return element;
}

/** The tile of each kind in a theme, drawn once. @param {Kind[]} kinds @param {number} theme @param {number} width @param {number} height @param {number} scale */
function tiles(kinds, theme, width, height, scale) {
  return kinds.map(kind => {
    const tile = document.createElement("canvas");
    tile.width = Math.max(1, Math.round(width * scale));
    tile.height = Math.max(1, Math.round(height * scale));
    const pen = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
    pen.scale(tile.width / 12, tile.height / 12);
    pen.fillStyle = kind.fill[theme] || "transparent";
    if (kind.body) pen.fill(new Path2D(kind.body));
    pen.strokeStyle = kind.ink[theme] || "transparent";
    pen.lineWidth = 1.5;
    pen.lineCap = "round";
    if (kind.mark) pen.stroke(new Path2D(kind.mark));
    return tile;
  });
}

/** @param {View} view */
function render({ model, el }) {
  const kernel = askKernel(model);
  /** @type {Kind[]} */
  const kinds = model.get("_kinds");
  /** @type {Grid} */
  let grid = model.get("_grid");
  let cells = new Uint8Array();
  /** @type {number[]} */
  let rows = [];
  /** @type {Place} Of the keyboard; the row counts those that are shown. */
  let here = {row: 0, column: 0};
  /** @type {Place | null} Where a selection began. */
  let anchor = null;
  let isDragging = false;
  /** @type {number | null} */
  let frame = null;
  let drawn = 0;
  let told = 0;
  /** @type {HTMLCanvasElement[]} */
  let pictures = [];
  let picturesOf = "";
  let names = 0;
  let width = LEAST;
  /** @type {Record<string, string>} */
  let colours = {};
  let theme = 0;

  const own = `ares-map-${Math.random().toString(36).slice(2)}`;
  const search = /** @type {HTMLInputElement} */ (made("input", {type: "search", placeholder: "BTC 1h", size: 14}));
  const order = /** @type {HTMLSelectElement} */ (made("select", {},
    made("option", {value: "name"}, "by name"), made("option", {value: "gaps"}, "most gaps first")));
  const by = /** @type {HTMLSelectElement} */ (made("select", {},
    made("option", {value: "month"}, "months"), made("option", {value: "day"}, "days")));
  const headline = made("span", {className: "ares-quiet"});
  const field = (/** @type {string} */ label, /** @type {Node} */ input) => made("label", {className: "ares-field"}, label, input);
  const top = made("div", {className: "ares-bar"}, field("Series", search), field("Order", order), field("Cells", by), headline);
  const legend = made("ul", {className: "ares-legend"});
  const canvas = /** @type {HTMLCanvasElement} */ (made("canvas", {"aria-hidden": "true"}));
  const space = made("div", {}, canvas);
  const box = made("div", {
    className: "ares-grid", tabIndex: 0, role: "application", "aria-label": "Coverage map",
    "aria-roledescription": "map of cells", "aria-describedby": `${own}-keys`,
  }, space);
  const tip = made("div", {className: "ares-tip", hidden: true, "aria-hidden": "true"});
  const spoken = made("div", {className: "ares-spoken", "aria-live": "polite", id: `${own}-spoken`});
  const keys = made("div", {className: "ares-quiet", id: `${own}-keys`},
    "Arrow keys move, Shift extends, Enter selects, Escape clears; or click and drag.");
  const chosen = made("strong", {className: "ares-chosen"});
  const acts = ["Repair this", "Load this", "Validate this", "Show in chart"].map(name =>
    /** @type {HTMLButtonElement} */ (made("button", {type: "button"}, name)));
  const cancel = /** @type {HTMLButtonElement} */ (made("button", {type: "button"}, "Cancel"));
  const below = made("div", {className: "ares-bar"}, chosen, ...acts, cancel);
  const progress = /** @type {HTMLProgressElement} */ (made("progress", {max: 1, "aria-label": "Progress"}));
  const result = made("div", {role: "status", className: "ares-result"});
  const alert = made("div", {role: "alert", className: "ares-error"});
  const chart = made("div", {className: "ares-chart"});
  el.classList.add("ares-widget", "ares-map");
  const stage = made("div", {style: "position:relative"}, box, tip);
  el.append(top, legend, stage, spoken, keys, below, progress, result, alert, chart);

  const columns = () => Math.max((grid.bounds ?? []).length - 1, 0);
  const kindAt = (/** @type {Place} */ {row, column}) => cells[rows[row] * columns() + column];
  const partOf = (/** @type {Place} */ one, /** @type {Place} */ other = one) => {
    const [first, last] = [one.column, other.column].sort((a, b) => a - b);
    return {series: grid.series[rows[one.row]], start: grid.bounds[first], end: grid.bounds[last + 1]};
  };
  const selection = () => {
    const found = model.get("_selection");
    return found?.series ? found : null;
  };

  const fail = (/** @type {Error} */ error) => { alert.textContent = error.message; };
  const answered = () => { el.dataset.answered = String(Number(el.dataset.answered ?? 0) + 1); };

  function legendShown() {
    const there = new Set(cells);
    legend.replaceChildren(...kinds.flatMap((kind, at) => {
      if (!there.has(at)) return [];
      const [tile] = tiles([kind], theme, 12, 12, Math.max(2, devicePixelRatio));
      Object.assign(tile.style, {width: "12px", height: "12px", position: "static"});
      tile.setAttribute("aria-hidden", "true");
      return [made("li", {title: kind.meaning}, tile, kind.name)];
    }));
  }

  function measured() {
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    pen.font = `12px ${getComputedStyle(el).fontFamily}`;
    const longest = [...grid.titles ?? []].sort((a, b) => b.length - a.length).slice(0, 20);
    names = Math.min(Math.max(80, ...longest.map(each => pen.measureText(each).width + 18)), box.clientWidth * 0.4);
    width = Math.min(MOST, Math.max(LEAST, (box.clientWidth - names - 8) / Math.max(columns(), 1)));
    space.style.width = `${names + columns() * width + 4}px`;
    space.style.height = `${HEAD + Math.max(rows.length, 1) * ROW + 4}px`;
  }

  function renew() {
    grid = model.get("_grid");
    const bytes = model.get("_cells");
    cells = bytes?.buffer ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : new Uint8Array();
    by.value = grid.by ?? "month";
    headline.textContent = grid.headline ?? "Looking into the cache …";
    box.setAttribute("aria-label", `Coverage map: ${headline.textContent}`);
    arrange();
    legendShown();
  }

  function arrange() {
    rows = grid.titles ? rowsShown(grid, cells, search.value, order.value) : [];
    here = {row: Math.max(0, Math.min(here.row, rows.length - 1)), column: Math.max(0, Math.min(here.column, columns() - 1))};
    anchor = null;
    stage.hidden = !grid.titles?.length;
    keys.hidden = stage.hidden;
    legend.hidden = stage.hidden;
    hideTip();
    measured();
    wanted();
    selectionShown();
  }

  function wanted() {
    frame ??= requestAnimationFrame(() => { frame = null; draw(); });
  }

  function draw() {
    const scale = devicePixelRatio || 1;
    const wide = box.clientWidth;
    const high = Math.min(box.clientHeight, HEAD + Math.max(rows.length, 1) * ROW + 4);
    if (!wide || !grid.titles) return;
    canvas.width = Math.round(wide * scale);
    canvas.height = Math.round(high * scale);
    Object.assign(canvas.style, {width: `${wide}px`, height: `${high}px`});
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    pen.scale(scale, scale);
    const made = `${theme} ${width} ${scale}`;
    if (picturesOf !== made) {
      pictures = tiles(kinds, theme, width - (width > 14 ? 2 : 1), ROW - 3, scale);
      picturesOf = made;
    }
    pen.fillStyle = colours.ground;
    pen.fillRect(0, 0, wide, high);
    const first = Math.floor(box.scrollTop / ROW);
    const last = Math.min(rows.length, Math.ceil((box.scrollTop + high - HEAD) / ROW));
    const left = Math.floor(box.scrollLeft / width);
    const right = Math.min(columns(), Math.ceil((box.scrollLeft + wide - names) / width));
    for (let row = first; row < last; row++) {
      const y = HEAD + row * ROW - box.scrollTop + 1.5;
      for (let column = left; column < right; column++) {
        const picture = pictures[cells[rows[row] * columns() + column]];
        pen.drawImage(picture, names + column * width - box.scrollLeft, y, picture.width / scale, picture.height / scale);
      }
    }
    chosenDrawn(pen);
    namesDrawn(pen, first, last, high);
    headsDrawn(pen, wide);
    el.dataset.drawn = String(++drawn);
    el.dataset.shape = JSON.stringify({names, head: HEAD, row: ROW, width, rows: rows.length, columns: columns()});
  }

  /** @param {CanvasRenderingContext2D} pen */
  function chosenDrawn(pen) {
    const found = selection();
    const row = found ? rows.findIndex(each => String(grid.series[each]) === String(found.series)) : -1;
    const frameOf = (/** @type {number} */ at, /** @type {number} */ x, /** @type {number} */ wide, /** @type {string} */ colour, /** @type {number} */ line) => {
      pen.strokeStyle = colour;
      pen.lineWidth = line;
      pen.strokeRect(names + x - box.scrollLeft - 1, HEAD + at * ROW - box.scrollTop + 0.5, wide + 1, ROW - 1);
    };
    if (found && row >= 0) {
      const [from, to] = [found.start_ms, found.end_ms].map(position);
      frameOf(row, from * width, Math.max(to - from, 0.3) * width, colours.ground, 5);
      frameOf(row, from * width, Math.max(to - from, 0.3) * width, colours.text, 2.5);
    }
    if (isDragging && anchor) {
      const [from, to] = [anchor.column, here.column].sort((a, b) => a - b);
      frameOf(anchor.row, from * width, (to + 1 - from) * width, colours.focus, 2.5);
    }
    if (document.activeElement === box || box.getRootNode() !== document) {
      pen.setLineDash([3, 2]);
      frameOf(here.row, here.column * width, width, colours.focus, 2);
      pen.setLineDash([]);
    }
  }

  /** Where a moment lies, in columns. @param {number} moment */
  function position(moment) {
    const at = grid.bounds.findIndex(bound => bound > moment);
    if (at < 0) return columns();
    if (at === 0) return 0;
    return at - 1 + (moment - grid.bounds[at - 1]) / (grid.bounds[at] - grid.bounds[at - 1]);
  }

  /** @param {CanvasRenderingContext2D} pen @param {number} first @param {number} last @param {number} high */
  function namesDrawn(pen, first, last, high) {
    pen.fillStyle = colours.ground;
    pen.fillRect(0, 0, names, high);
    pen.font = `12px ${getComputedStyle(el).fontFamily}`;
    pen.textBaseline = "middle";
    for (let row = first; row < last; row++) {
      const y = HEAD + row * ROW - box.scrollTop + ROW / 2;
      pen.fillStyle = colours.text;
      let title = grid.titles[rows[row]];
      while (title.length > 4 && pen.measureText(title).width > names - 12) title = `${title.slice(0, -2).trimEnd()}…`;
      pen.fillText(title, 6, y);
    }
    if (rows.length) return;
    pen.fillStyle = colours.quiet;
    pen.fillText("No series has these words", 6, HEAD + ROW / 2);
  }

  /** @param {CanvasRenderingContext2D} pen @param {number} wide */
  function headsDrawn(pen, wide) {
    pen.fillStyle = colours.ground;
    pen.fillRect(0, 0, wide, HEAD);
    pen.textBaseline = "alphabetic";
    pen.save();
    pen.beginPath();
    pen.rect(names - 2, 0, wide, HEAD);
    pen.clip();
    for (const {column, text, line} of heads(grid, width)) {
      const x = names + column * width - box.scrollLeft;
      if (x < names - 60 || x > wide) continue;
      pen.fillStyle = line ? colours.quiet : colours.text;
      pen.font = `${line ? 10 : 12}px ${getComputedStyle(el).fontFamily}`;
      pen.fillText(text, x, line ? HEAD - 6 : 14);
    }
    pen.restore();
    pen.fillStyle = colours.line;
    pen.fillRect(0, HEAD - 2, wide, 1);
  }

  /** @param {{clientX: number, clientY: number}} event @returns {Place | null} */
  function placeOf(event) {
    const edge = box.getBoundingClientRect();
    const x = event.clientX - edge.left - box.clientLeft;
    const y = event.clientY - edge.top - box.clientTop;
    if (x < names || y < HEAD) return null;
    const place = {row: Math.floor((y - HEAD + box.scrollTop) / ROW), column: Math.floor((x - names + box.scrollLeft) / width)};
    return place.row < rows.length && place.column < columns() ? place : null;
  }

  /** Tell what the kernel knows of a cell, in a box beside it; and aloud, where the keyboard led there. @param {Place} place @param {boolean} aloud */
  async function tell(place, aloud) {
    const number = ++told;
    try {
      const answer = await kernel.ask("cell", partOf(place));
      if (!answer || number !== told) return;
      const kind = kinds[kindAt(place)];
      const lines = [...answer.content.lines, `(${kind.name}: ${kind.meaning})`];
      tip.textContent = lines.join("\n");
      if (aloud) spoken.textContent = lines.join(". ");
      showTip(place);
    } catch (error) {
      fail(/** @type {Error} */ (error));
    }
    answered();
  }

  /** @param {Place} place */
  function showTip(place) {
    tip.hidden = false;
    const x = names + (place.column + 1) * width - box.scrollLeft + 6;
    const y = HEAD + (place.row + 1) * ROW - box.scrollTop + 6;
    const left = x + tip.offsetWidth > stage.clientWidth ? x - width - tip.offsetWidth - 12 : x;
    Object.assign(tip.style, {left: `${Math.max(4, left)}px`, top: `${y}px`});
  }

  function hideTip() {
    told++;
    tip.hidden = true;
  }

  /** @param {Place} one @param {Place} other */
  function select(one, other) {
    kernel.ask("select", partOf(one, other)).catch(fail).finally(answered);
  }

  function selectionShown() {
    const found = selection();
    const status = model.get("_status");
    const day = (/** @type {number} */ ms) => new Date(ms).toISOString().slice(0, 16).replace("T", " ").replace(" 00:00", "");
    const title = found ? found.series.slice(0, 2).reverse().concat(found.series[2] || []).join(" ") : "";
    chosen.textContent = found ? `${title}, ${day(found.start_ms)} → ${day(found.end_ms)}` : "Nothing selected";
    for (const button of acts) button.disabled = !found || Boolean(status.busy);
    cancel.hidden = !status.busy;
    wanted();
  }

  function statusShown() {
    const {words, error, busy, share} = model.get("_status");
    result.textContent = words;
    alert.textContent = error;
    progress.hidden = !busy;
    progress.value = share;
    if (!share) progress.removeAttribute("value");
    const had = document.activeElement;
    selectionShown();
    // A button that is disabled loses the focus, and the keyboard its place.
    if (had instanceof HTMLButtonElement && had.disabled && el.contains(had)) (busy ? cancel : box).focus();
  }

  /** @type {{remove(): void} | null} */
  let child = null;
  async function chartShown() {
    const reference = model.get("_chart");
    child?.remove();
    child = null;
    chart.replaceChildren();
    if (!reference) return;
    // What draws widgets inside widgets; hosts that have none say so.
    const manager = /** @type {any} */ (model).widget_manager;
    if (!manager?.get_model) {
      chart.textContent = "This notebook shows no chart inside a map; ares.chart(…) shows it in a cell of its own.";
      return;
    }
    const view = await manager.create_view(await manager.get_model(reference.slice("IPY_MODEL_".length)));
    child = view;
    chart.replaceChildren(view.el);
    // Phosphor's widgets want to know that they are on the page.
    view.displayed?.then?.(() => {});
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const steps = /** @type {Record<string, number[]>} */ ({
      ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0],
      Home: [0, -columns()], End: [0, columns()], PageUp: [-10, 0], PageDown: [10, 0],
    });
    if (event.ctrlKey || event.metaKey || event.altKey || !rows.length) return;
    const step = steps[event.key];
    if (step) {
      if (event.shiftKey && step[0] === 0) anchor ??= {...here};
      else anchor = null;
      here = {
        row: Math.max(0, Math.min(rows.length - 1, here.row + step[0])),
        column: Math.max(0, Math.min(columns() - 1, here.column + step[1])),
      };
      intoView();
      isDragging = anchor !== null;
      wanted();
      void tell(here, true);
    } else if (event.key === "Enter" || event.key === " ") {
      select(anchor ?? here, here);
      anchor = null;
      isDragging = false;
    } else if (event.key === "Escape") {
      anchor = null;
      isDragging = false;
      hideTip();
      kernel.ask("select", {}).catch(fail).finally(answered);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function intoView() {
    const y = here.row * ROW;
    const x = here.column * width;
    const [wide, high] = [box.clientWidth - names, box.clientHeight - HEAD];
    if (y < box.scrollTop) box.scrollTop = y;
    else if (y + ROW > box.scrollTop + high) box.scrollTop = y + ROW - high + 4;
    if (x < box.scrollLeft) box.scrollLeft = x;
    else if (x + width > box.scrollLeft + wide) box.scrollLeft = x + width - wide + 4;
  }

  let hovered = "";
  box.addEventListener("pointermove", event => {
    const place = placeOf(event);
    if (isDragging && anchor && event.buttons) {
      if (place) here = {row: anchor.row, column: place.column};
      wanted();
      return;
    }
    const name = place ? `${place.row} ${place.column}` : "";
    if (name === hovered) return;
    hovered = name;
    if (place) void tell(place, false);
    else hideTip();
  });
  box.addEventListener("pointerleave", () => { hovered = ""; hideTip(); });
  box.addEventListener("pointerdown", event => {
    const place = event.button === 0 ? placeOf(event) : null;
    if (!place) return;
    anchor = place;
    here = place;
    // A finger scrolls; a mouse draws a part of a line.
    isDragging = event.pointerType === "mouse";
    wanted();
  });
  box.addEventListener("pointerup", event => {
    const place = placeOf(event);
    if (anchor && place) select(anchor, {row: anchor.row, column: place.column});
    anchor = null;
    isDragging = false;
    wanted();
  });
  box.addEventListener("pointercancel", () => { anchor = null; isDragging = false; wanted(); });
  box.addEventListener("keydown", onKey);
  box.addEventListener("scroll", () => { hideTip(); wanted(); });
  for (const name of ["focus", "blur"]) box.addEventListener(name, wanted);
  search.addEventListener("input", () => { box.scrollTop = 0; arrange(); });
  order.addEventListener("change", () => { box.scrollTop = 0; arrange(); });
  by.addEventListener("change", () => kernel.ask("by", {by: by.value}).catch(fail).finally(answered));
  for (const button of [...acts, cancel]) {
    button.addEventListener("click", () => kernel.ask("act", {verb: button.textContent}).catch(fail).finally(answered));
  }
  const follow = () => { renew(); };
  model.on("change:_grid", follow);
  model.on("change:_selection", selectionShown);
  model.on("change:_status", statusShown);
  model.on("change:_chart", chartShown);
  const sizes = new ResizeObserver(() => { measured(); wanted(); });
  const unfollow = followTheme(el, (given, name) => {
    colours = given;
    theme = name === "dark" ? 1 : 0;
    if (grid.titles) legendShown();
    wanted();
  });
  renew();
  statusShown();
  void chartShown();
  sizes.observe(box);
  return () => {
    sizes.disconnect();
    unfollow();
    if (frame !== null) cancelAnimationFrame(frame);
    model.off("change:_grid", follow);
    model.off("change:_selection", selectionShown);
    model.off("change:_status", statusShown);
    model.off("change:_chart", chartShown);
    kernel.close();
    child?.remove();
  };
}

export default { render };
