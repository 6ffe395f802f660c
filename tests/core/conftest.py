from __future__ import annotations

from hypothesis import settings

# No deadline for one example: on a busy machine it measures the machine, not the code.
settings.register_profile("core", deadline=None)
settings.load_profile("core")
