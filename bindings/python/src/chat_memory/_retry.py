"""How often something is tried while other writers are faster, and how long to wait in between."""

from __future__ import annotations

import random

ATTEMPTS = 20


def pause_s(attempt: int) -> float:
    """The wait after a lost attempt, counted from 0: the longer the more were lost, and another one for each writer."""
    return random.random() * min(0.5, 0.005 * 2.0**attempt)
