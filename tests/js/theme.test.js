import assert from "node:assert/strict";
import test from "node:test";
import {COLOURS, themeOf} from "../../ares_notebook/lab/static/theme.js";

/** Relative luminance, as WCAG 2.2 defines it. @param {string} colour */
const luminance = colour => {
  const [r, g, b] = [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16) / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
/** @param {string} one @param {string} other */
const contrast = (one, other) => {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
};

test("text has a contrast of 4.5 and what tells something one of 3, in both themes", () => {
  for (const colours of Object.values(COLOURS)) {
    for (const name of ["text", "quiet", "down", "focus"]) {
      for (const ground of [colours.ground, colours.chip]) {
        assert.ok(contrast(colours[name], ground) >= 4.5, `${name} on ${ground}`);
      }
    }
    for (const name of ["up", "down", "volume", "lower", "gap", "focus"]) {
      assert.ok(contrast(colours[name], colours.ground) >= 3, name);
    }
  }
});

/** @param {Record<string, string>} attributes @param {string[]} classes */
const element = (attributes = {}, classes = []) => ({
  getAttribute: (/** @type {string} */ name) => attributes[name] ?? null,
  classList: {contains: (/** @type {string} */ name) => classes.includes(name)},
});
/** @param {any} body @param {any} root @param {boolean} dark */
const theme = (body, root, dark) => themeOf({body, documentElement: root}, dark);

test("the notebook's theme comes before the system's", () => {
  assert.equal(theme(element({"data-jp-theme-light": "true"}), element(), true), "light");
  assert.equal(theme(element({"data-jp-theme-light": "false"}), element(), false), "dark");
  assert.equal(theme(element({"data-vscode-theme-kind": "vscode-dark"}), element(), false), "dark");
  assert.equal(theme(element({"data-vscode-theme-kind": "vscode-high-contrast-light"}), element(), true), "light");
  assert.equal(theme(element(), element({theme: "dark"}), false), "dark");
  assert.equal(theme(element({}, ["dark"]), element(), false), "dark");
  assert.equal(theme(element(), element(), true), "dark");
  assert.equal(theme(element(), element(), false), "light");
});
