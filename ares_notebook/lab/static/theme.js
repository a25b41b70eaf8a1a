/**
 * The colours of our widgets. Text has a contrast of at least 4.5 on its ground, lines and areas
 * that tell something one of 3 (WCAG 2.2, AA); tests/js computes them.
 */
export const COLOURS = {
  light: {
    ground: "#ffffff", text: "#1f2328", quiet: "#57606a", line: "#d8dee4", focus: "#0550ae",
    up: "#00766c", down: "#b3261e", volume: "#6e7781", lower: "#6639ba", gap: "#9a6700", chip: "#f3f4f6",
  },
  dark: {
    ground: "#111111", text: "#e6edf3", quiet: "#a0a8b0", line: "#32383f", focus: "#6cb6ff",
    up: "#4fc3b5", down: "#ff8a80", volume: "#8b949e", lower: "#c4a7ff", gap: "#d9a520", chip: "#22272e",
  },
};
/** @typedef {"light" | "dark"} Theme */

/**
 * The theme of the page: JupyterLab, Notebook and Voilà, VS Code, Colab, marimo, else the system's.
 *
 * @param {{body: HTMLElement, documentElement: HTMLElement}} page
 * @param {boolean} systemIsDark
 * @returns {Theme}
 */
export function themeOf(page, systemIsDark) {
  const {body, documentElement: root} = page;
  const jupyter = body.getAttribute("data-jp-theme-light");
  if (jupyter) return jupyter === "false" ? "dark" : "light";
  const named = body.getAttribute("data-vscode-theme-kind") ?? root.getAttribute("theme")
    ?? body.getAttribute("data-theme") ?? root.getAttribute("data-theme");
  if (named) return /dark|high-contrast$/.test(named) ? "dark" : "light";
  if (body.classList.contains("dark") || root.classList.contains("dark")) return "dark";
  return systemIsDark ? "dark" : "light";
}

/**
 * Give an element the theme of the page, now and at each change: as `data-theme`, and its colours
 * as the CSS variables `--ares-text` and so on. Returns a function that ends this.
 *
 * @param {HTMLElement} element
 * @param {(colours: typeof COLOURS.light, theme: Theme) => void} changed
 */
export function followTheme(element, changed) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const theme = themeOf(document, system.matches);
    if (element.dataset.theme === theme) return;
    element.dataset.theme = theme;
    for (const [name, colour] of Object.entries(COLOURS[theme])) {
      element.style.setProperty(`--ares-${name}`, colour);
    }
    changed(COLOURS[theme], theme);
  };
  const observer = new MutationObserver(apply);
  for (const each of [document.body, document.documentElement]) {
    observer.observe(each, {attributes: true});
  }
  system.addEventListener("change", apply);
  apply();
  return () => {
    observer.disconnect();
    system.removeEventListener("change", apply);
  };
}
