"""A place to drop files on, or to choose them with the keyboard: they come to a folder of their own, piece by piece."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from toolkit.errors import QwenAudioError, UsageError
from toolkit.widgets.languages import Texts, shared_texts

__all__ = ["MOST_BYTES", "DropZone"]

MOST_BYTES = 256 * 1024 * 1024
"""Of one file; a larger one is given by its path."""
_KEPT_NAME = re.compile(r"[^\w.()+ -]")

# A whole file in one message would break the connection above 10 MB, and ipywidgets' own control takes no drop.
_SCRIPT = """
const PIECE = 1 << 20;
function render({ model, el }) {
  const zone = document.createElement("label");
  const text = document.createElement("span");
  const input = document.createElement("input");
  const told = document.createElement("span");
  Object.assign(input, { type: "file", multiple: true });
  zone.className = "qwen-audio-drop";
  told.setAttribute("role", "status");
  zone.append(text, input, told);
  el.append(zone);
  async function send(files) {
    for (const file of files) {
      if (file.size > model.get("most_bytes")) {
        model.send({ kind: "large", name: file.name, bytes: file.size });
        continue;
      }
      const id = crypto.getRandomValues(new Uint32Array(2)).join("-");
      for (let at = 0; at < Math.max(1, file.size); at += PIECE) {
        let bytes;
        try {
          bytes = await file.slice(at, at + PIECE).arrayBuffer();
        } catch (error) {
          model.send({ kind: "unread", name: file.name });
          break;
        }
        model.send({ kind: "piece", id, name: file.name, at, last: at + PIECE >= file.size }, undefined, [bytes]);
      }
    }
  }
  input.addEventListener("change", async () => { await send([...input.files]); input.value = ""; });
  for (const what of ["dragenter", "dragover"])
    zone.addEventListener(what, (event) => {
      event.preventDefault(); event.stopPropagation(); zone.classList.add("qwen-audio-over");
    });
  zone.addEventListener("dragleave", () => zone.classList.remove("qwen-audio-over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault(); event.stopPropagation(); zone.classList.remove("qwen-audio-over");
    send([...event.dataTransfer.files]);
  });
  function write() {
    text.textContent = model.get("label");
    input.setAttribute("aria-label", model.get("label"));
    told.textContent = model.get("told");
  }
  model.on("change:label change:told", write);
  write();
}
export default { render };
"""
_STYLE = """
.qwen-audio-drop {
  display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: center; padding: 14px 12px; border-radius: 4px;
  border: 2px dashed var(--jp-border-color1, #bdbdbd); color: var(--jp-ui-font-color1, inherit);
  font-family: var(--jp-ui-font-family, sans-serif); font-size: var(--jp-ui-font-size1, 13px); cursor: pointer;
}
.qwen-audio-drop.qwen-audio-over, .qwen-audio-drop:focus-within { border-color: var(--jp-brand-color1, #1976d2); }
.qwen-audio-drop input { color: inherit; font: inherit; }
"""


class DropZone(anywidget.AnyWidget):
    """Calls ``on_file(path)`` for each file that was dropped or chosen, once it is whole.

    ``on_error`` hears what went wrong. The files lie in a private folder that goes with the control; :meth:`clear`
    removes them before.
    """

    _esm = _SCRIPT
    _css = _STYLE

    label = traitlets.Unicode("").tag(sync=True)
    told = traitlets.Unicode("").tag(sync=True)
    most_bytes = traitlets.Int(MOST_BYTES).tag(sync=True)

    def __init__(
        self,
        label: str,
        on_file: Callable[[Path], None],
        on_error: Callable[[QwenAudioError], None],
        texts: Texts | None = None,
    ) -> None:
        super().__init__()
        self._on_file = on_file
        self._on_error = on_error
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._open: dict[str, Path] = {}
        (texts or shared_texts()).follow(self, label, "label")
        self.on_msg(lambda _, message, buffers: self.hear(message, buffers))

    def clear(self) -> None:
        """Remove the files that have come."""
        folder, self._folder = self._folder, None
        self._open.clear()
        if folder is not None:
            folder.cleanup()

    def close(self) -> None:
        """Take it off the page, and remove the files."""
        self.clear()
        super().close()

    def hear(self, message: Any, buffers: list[Any]) -> None:
        """A message of the page: a piece of a file, or why there is none."""
        name = str(message.get("name", "")) if isinstance(message, dict) else ""
        match message.get("kind") if isinstance(message, dict) else None:
            case "large":
                self._on_error(UsageError(f"{name} is over {MOST_BYTES >> 20} MB; give its path instead"))
            case "unread":
                self._on_error(UsageError(f"{name} cannot be read by the browser; a folder is given by its path"))
            case "piece" if buffers:
                try:
                    self._take(message, bytes(buffers[0]))
                except OSError as error:
                    self._on_error(UsageError(f"{name} could not be kept: {error.strerror or error}"))

    def _take(self, message: dict[str, Any], piece: bytes) -> None:
        at, number = int(message["at"]), str(message["id"])
        if at == 0:
            self._open[number] = self._place(str(message["name"]))
        path = self._open.get(number)
        if path is None or at + len(piece) > MOST_BYTES or (at and path.stat().st_size != at):
            return  # of a file that was cleared away while it came
        with path.open("ab") as stream:
            stream.write(piece)
        if message["last"]:
            del self._open[number]
            self._on_file(path)

    def _place(self, name: str) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="qwen-audio-")
        clean = _KEPT_NAME.sub("_", Path(name.replace("\\", "/")).name).strip(". ")[-100:] or "file"
        path, number = Path(self._folder.name) / clean, 1
        while path.exists():
            number += 1
            path = Path(self._folder.name) / f"{number}-{clean}"
        return path
