"""How many processors this process may use."""

from __future__ import annotations

import os


def processor_count() -> int:
    """At least 1; where the system tells, those that the process was bound to (affinity)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
