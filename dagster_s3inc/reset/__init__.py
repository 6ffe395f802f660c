"""The reset job: files that were requested are requested again, all of them or some.

Clearing the cursor would not do: a tick that is running writes its own cursor over it when it
ends, and Dagster skips run requests whose run keys it has seen. So a reset is, first of all, a
request that lasts: tags on the reset run. A tick that finds a request newer than the newest that
its cursor has seen honours it. A reset of everything starts a new generation; the others go on in
the same one, and the sequence in every run key tells them apart.

After a reset of everything the stored cursor is replaced as well, so that the sensor's page shows
it at once. What the other resets do, only a tick can find out; so they leave the cursor to it.
"""

from dagster_s3inc.reset.config import ResetConfig
from dagster_s3inc.reset.job import build_s3_reset_job

__all__ = ["ResetConfig", "build_s3_reset_job"]
