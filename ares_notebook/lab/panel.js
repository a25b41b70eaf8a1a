((panel, button) => {
  if (!panel || panel.dataset.keys) return;
  panel.dataset.keys = "on";
  // In the first phase, since a text field tells nobody else of its keys.
  panel.addEventListener("keydown", event => {
    const isField = event.target.matches("input:not([type=checkbox]), select");
    if (event.key === "Escape") button("cancel").click();
    // What was typed last is on its way to the kernel, and must be there before the click.
    if (event.key === "Enter" && isField) setTimeout(() => button("download").click(), 300);
  }, true);
  // A button that is turned off under the focus gives it to the one that is turned on.
  let last = null;
  panel.addEventListener("focusin", event => { last = event.target; });
  panel.addEventListener("focusout", event => { if (!event.target.disabled) last = null; });
  new MutationObserver(() => {
    const other = button(last?.closest(".ares-download") ? "cancel" : "download");
    const isLost = document.activeElement === document.body;
    if (last?.disabled && isLost && !other.disabled) other.focus({preventScroll: true});
  }).observe(panel, {subtree: true, attributes: true, attributeFilter: ["disabled"]});
})(this.closest(".ares-panel"), name => this.closest(".ares-panel").querySelector(".ares-" + name))
