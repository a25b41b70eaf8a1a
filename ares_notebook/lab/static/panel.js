import {followTheme} from "./theme.js";

/**
 * The keyboard of the panel, where its focus goes, and its copy buttons.
 *
 * @param {HTMLElement} panel
 */
function listen(panel) {
  /** @type {HTMLButtonElement | null} What has the focus, or lost it to nobody; mostly a button. */
  let last = null;
  /** @type {HTMLButtonElement | null} What began the work, to which the focus returns. */
  let origin = null;
  /** @param {string} name @returns {HTMLButtonElement | null} */
  const button = name => panel.querySelector(`.ares-${name}`);
  // In the first phase, since a text field tells nobody else of its keys.
  panel.addEventListener("keydown", event => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.key === "Escape" && !target.closest(".ares-widget")) button("cancel")?.click();
    const isField = target.matches(".ares-form :is(input:not([type=checkbox]), select)");
    // What was typed last is on its way to the kernel, and must be there before the click.
    const typed = /** @type {HTMLInputElement} */ (target).value;
    if (event.key === "Enter" && isField) setTimeout(() => {
      if (/** @type {HTMLInputElement} */ (target).value === typed) button("download")?.click();
    }, 300);
  }, true);
  panel.addEventListener("click", event => {
    const copy = /** @type {HTMLElement} */ (event.target).closest(".ares-copy");
    const code = copy?.nextElementSibling;
    if (!copy || !code) return;
    getSelection()?.selectAllChildren(code);
    // The browser's old command also works where a page is not served securely.
    document.execCommand("copy");
    copy.textContent = "Copied";
  });
  panel.addEventListener("focusin", event => { last = /** @type {HTMLButtonElement} */ (event.target); });
  panel.addEventListener("focusout", event => {
    // What is turned off or hidden under the focus loses it to nobody.
    if (event.target === last && !last?.disabled && last?.offsetParent) last = null;
  });
  const moved = () => {
    const active = document.activeElement;
    const cancel = button("cancel");
    if (!last || !cancel || (active !== document.body && active !== last)) return;
    const tab = /** @type {HTMLElement | null} */ (panel.querySelector("[role=tab][aria-selected=true]"));
    /** @type {HTMLElement | null} */
    let next = null;
    // A button that is turned off under the focus gives it to the one that is turned on.
    if (last === cancel && last.disabled) next = origin?.offsetParent ? origin : tab;
    else if (last.disabled && !cancel.disabled) {
      origin = last;
      next = cancel;
    } else if (!last.offsetParent) next = tab;
    next?.focus({preventScroll: true});
  };
  const observer = new MutationObserver(moved);
  observer.observe(panel, {subtree: true, attributes: true, attributeFilter: ["disabled", "aria-selected"]});
  return () => observer.disconnect();
}

export default {
  /** @param {View} view */
  render({el}) {
    let ends = [() => {}];
    let isOver = false;
    // The view is put into the panel after this.
    const begin = () => {
      if (isOver) return;
      const panel = /** @type {HTMLElement | null} */ (el.closest(".ares-panel"));
      if (panel) ends = [listen(panel), followTheme(panel, () => {})];
      else requestAnimationFrame(begin);
    };
    begin();
    return () => {
      isOver = true;
      for (const end of ends) end();
    };
  },
};
