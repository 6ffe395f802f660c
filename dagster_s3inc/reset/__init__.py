"""The reset job: what was handed over is handed over again, all of it or some.

Clearing the cursor would not do: a tick that is running writes its own cursor over it when it
ends, and Dagster skips run requests whose run keys it has seen. So a reset is, first of all, a
marker that lasts: tags on the reset run. A tick that meets a marker newer than the newest that its
cursor knows of starts a new generation, and the generation is part of every run key.

The marker also says what is handed over again. Of everything, the stored cursor is then replaced
by that of the new generation as well, so that the sensor's page shows it at once. Where the new
generation goes on from the old one, only a tick can tell what that has come to, so the cursor is
left to the next tick.
"""

from dagster_s3inc.reset.config import ResetConfig, What
from dagster_s3inc.reset.job import build_s3_reset_job

__all__ = ["ResetConfig", "What", "build_s3_reset_job"]
