((panel, button) => {
  if (!panel || panel.onkeydown) return;
  panel.onkeydown = event => {
    const isField = event.target.matches("input:not([type=checkbox]), select");
    const name = event.key === "Escape" ? "cancel" : event.key === "Enter" && isField ? "download" : "";
    if (!name) return;
    event.preventDefault();
    // What was typed last is on its way to the kernel, and must be there before the click.
    setTimeout(() => button(panel, name).click(), name === "download" ? 300 : 0);
  };
  // A button that is turned off under the focus gives it to the one that is turned on.
  new MutationObserver(changes => changes.forEach(({target}) => {
    const other = target.closest(".ares-download") ? "cancel" : "download";
    if (target.disabled && target === document.activeElement) button(panel, other).focus();
  })).observe(panel, {subtree: true, attributes: true, attributeFilter: ["disabled"]});
})(this.closest(".ares-panel"), (panel, name) => panel.querySelector(".ares-" + name))
