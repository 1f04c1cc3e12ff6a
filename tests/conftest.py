"""What holds for the whole suite: one thread a process, and child processes can be interrupted."""

from __future__ import annotations

import os
import signal

# Two workers test side by side, and what they multiply is small: a second thread each takes more than it gives (457
# tests of speech and sound: 124 s without, 105 s with). Children inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell lets what it starts in the background ignore the signal, and children inherit that; those with a handler of
# their parent start with the default.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
