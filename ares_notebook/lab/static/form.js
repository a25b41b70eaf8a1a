import {followTheme} from "./theme.js";

/** @typedef {{model: any, host?: any, signal?: AbortSignal}} Place */

/** By kind of control: tag, type, trait, and the property that holds it. @type {Record<string, string[]>} */
const KINDS = {
  HTML: ["div", "", "value", "innerHTML"], IntProgress: ["progress", "", "value", "value"],
  Text: ["input", "text", "value", "value"], Combobox: ["input", "text", "value", "value"],
  DatePicker: ["input", "date", "value", "valueAsDate"], Checkbox: ["input", "checkbox", "value", "checked"],
  Dropdown: ["select", "", "index", "selectedIndex"],
  Button: ["button", "", "", ""], ToggleButton: ["button", "", "value", "ariaPressed"],
};
/** @param {string} reference */
const idOf = reference => reference.replace("IPY_MODEL_", "");

/**
 * Draw a widget of ipywidgets, and what is in it, where a host draws only widgets of anywidget.
 *
 * @param {Place} place
 * @param {string} id
 * @returns {Promise<HTMLElement>}
 */
async function draw(place, id) {
  const manager = place.model.widget_manager;
  const model = await manager.get_model(id);
  const name = model.get("_model_name").replace("Model", "");
  const box = document.createElement("div");
  if (name === "Any") {
    await (await place.host.getWidget(`anywidget:${id}`)).render({el: box, signal: place.signal});
    return box;
  }
  const [tag, type, trait, property] = KINDS[name] ?? ["div"];
  const control = /** @type {any} */ (document.createElement(tag));
  if (type) control.type = type;
  const label = document.createElement(type || tag === "select" ? "label" : "div");
  const words = document.createElement("span");
  label.append(words, control);
  if (KINDS[name]) box.append(label);
  const layout = await manager.get_model(idOf(model.get("layout")));
  const renew = () => {
    box.className = ["ares-view", `ares-${name}`, ...(model.get("_dom_classes") ?? [])].join(" ");
    box.style.display = layout.get("display") ?? "";
    (tag === "button" ? control : words).textContent = model.get("description") ?? "";
    control.disabled = model.get("disabled") ?? false;
    if (tag === "progress") control.max = model.get("max");
    if (tag === "select") control.replaceChildren(...model.get("_options_labels").map((/** @type {string} */ each) => new Option(each)));
    const value = model.get(trait);
    const shown = type === "date" && value ? new Date(Date.UTC(value.year, value.month, value.date)) : value;
    if (trait && control[property] !== shown) control[property] = shown;
  };
  const nest = async () => {
    const parts = await Promise.all(model.get("children").map((/** @type {string} */ each) => draw(place, idOf(each))));
    box.replaceChildren(...(name === "Tab" ? parts.map(folded) : parts));
  };
  /** @param {HTMLElement} part @param {number} at */
  const folded = (part, at) => {
    const fold = document.createElement("details");
    const title = document.createElement("summary");
    title.textContent = model.get("titles")[at];
    fold.append(title, part);
    fold.open = at === model.get("selected_index");
    fold.addEventListener("toggle", () => { if (fold.open) put("selected_index", at); });
    return fold;
  };
  /** @param {string} to @param {unknown} value */
  const put = (to, value) => { model.set(to, value); model.save_changes(); };
  control.addEventListener(tag === "button" ? "click" : "change", () => {
    if (name === "Button") model.send({event: "click"});
    else if (name === "ToggleButton") put(trait, !model.get(trait));
    else if (type !== "date") put(trait, control[property]);
    else {
      const day = control.valueAsDate;
      put(trait, day && {year: day.getUTCFullYear(), month: day.getUTCMonth(), date: day.getUTCDate()});
    }
  });
  for (const each of [model, layout]) each.on("change", renew);
  if (!KINDS[name]) {
    model.on("change:children", nest);
    await nest();
  }
  renew();
  return box;
}

export default {
  /** @param {View & Place} place */
  async render(place) {
    place.el.append(await draw(place, idOf(place.model.get("root"))));
    return followTheme(place.el, () => {});
  },
};
