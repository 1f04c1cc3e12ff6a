"""The notebooks' controls: thin views over functions of the rooms below, in Chinese and English."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.lazy import lazy_names

if TYPE_CHECKING:
    from toolkit.widgets.setup.wizard import guided_setup

__all__ = ["guided_setup"]

# One notebook does not pay for the controls of the others.
__getattr__ = lazy_names(__name__, {"guided_setup": "setup.wizard"})
