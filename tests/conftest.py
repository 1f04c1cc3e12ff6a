"""What holds for the whole suite: child processes can be interrupted."""

from __future__ import annotations

import signal

# A shell lets what it starts in the background ignore the signal, and children inherit that; those with a handler of
# their parent start with the default.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
