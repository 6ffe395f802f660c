"""Objects of pages, for the tests of listings."""

from __future__ import annotations

from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.page import Page
from dagster_s3inc.core.selection import Selection


def made(some: Page) -> list[S3Object]:
    """All objects of a page."""
    return list(some.seen_from(None, Selection(), frozenset()).above)
