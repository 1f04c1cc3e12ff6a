"""A button that puts a text on the clipboard of the browser; the kernel may run on another machine."""

from __future__ import annotations

import anywidget
import traitlets

from toolkit.widgets.languages import Texts, shared_texts

__all__ = ["CopyButton"]

_SCRIPT = """
function render({ model, el }) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "jupyter-widgets jupyter-button widget-button qwen-audio-copy";
  let timer = 0;
  const write = () => { clearTimeout(timer); button.textContent = model.get("label"); };
  function byHand(text) {
    const area = document.createElement("textarea");
    area.value = text;
    area.style.position = "fixed";
    el.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    button.focus();
    return copied;
  }
  button.addEventListener("click", async () => {
    const text = model.get("text");
    let copied = true;
    // Only pages of this machine or with TLS have navigator.clipboard.
    try { await navigator.clipboard.writeText(text); } catch (error) { copied = byHand(text); }
    button.textContent = model.get(copied ? "done" : "failed");
    timer = setTimeout(write, 2000);
  });
  model.on("change:label", write);
  write();
  el.append(button);
}
export default { render };
"""


class CopyButton(anywidget.AnyWidget):
    """Copies ``text`` when pressed, and says for two seconds that it did."""

    _esm = _SCRIPT

    text = traitlets.Unicode("").tag(sync=True)
    label = traitlets.Unicode("").tag(sync=True)
    done = traitlets.Unicode("").tag(sync=True)
    failed = traitlets.Unicode("").tag(sync=True)

    def __init__(self, text: str, texts: Texts | None = None) -> None:
        super().__init__(text=text)
        texts = texts or shared_texts()
        texts.follow(self, "diagnosis.copy", "label")
        texts.follow(self, "diagnosis.copied", "done")
        texts.follow(self, "diagnosis.copy_failed", "failed")
