"""Making orders, and putting files of them where they land in S3."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["LandingFolder", "OrderFile", "broken_orders", "make_orders"]

_PRODUCTS: Final = {"tea": 450, "coffee": 690, "cocoa": 520, "mug": 1290, "teapot": 3450}
_DAYS: Final = 14
# More is bought towards the weekend, Monday first: the plot gets a shape to look at.
_WEEKDAY_WEIGHTS: Final = (5, 5, 6, 7, 9, 12, 10)


@dataclass(frozen=True, slots=True)
class OrderFile:
    """A file of orders.

    Attributes:
        name: Below the landing folder.
        content: Gzipped NDJSON, one order a line.
        rows: How many orders are in it.
        cents: What they are worth together.
    """

    name: str
    content: bytes
    rows: int
    cents: int


def make_orders(number: int, version: int = 1) -> OrderFile:
    """Makes the orders of one file; the same for the same arguments on the same day.

    Args:
        number: Which file; part of its name.
        version: Another version of a file has other orders under the same name.
    """
    dice = random.Random(f"{number}/{version}")  # noqa: S311 - it makes up orders, not secrets
    orders = [
        _order(f"{number:05}-{version}-{index:03}", dice) for index in range(dice.randint(20, 60))
    ]
    lines = "".join(json.dumps(order) + "\n" for order in orders)
    return OrderFile(
        name=f"orders-{number:05}.ndjson.gz",
        content=gzip.compress(lines.encode(), mtime=0),
        rows=len(orders),
        cents=sum(order["quantity"] * order["unit_price_cents"] for order in orders),
    )


def broken_orders(number: int) -> OrderFile:
    """Makes a file that cannot be read: the shop's export broke off in the middle of an order."""
    return OrderFile(
        name=f"orders-{number:05}.ndjson.gz",
        content=gzip.compress(b'{"order_id": "' + str(number).encode(), mtime=0),
        rows=0,
        cents=0,
    )


def _order(order_id: str, dice: random.Random) -> dict[str, Any]:
    today = datetime.now(timezone.utc).date()
    days = [today - timedelta(days=back) for back in range(1, _DAYS + 1)]
    weights = [_WEEKDAY_WEIGHTS[day.weekday()] for day in days]
    (day,) = dice.choices(days, weights)
    product, price = dice.choice(list(_PRODUCTS.items()))
    return {
        "order_id": order_id,
        "ordered_at": _moment(day, dice).isoformat(),
        "product": product,
        "quantity": dice.randint(1, 5),
        "unit_price_cents": price,
    }


def _moment(day: date, dice: random.Random) -> datetime:
    return datetime.combine(day, time(dice.randint(8, 21), dice.randint(0, 59)), timezone.utc)


class LandingFolder:
    """The folder in S3, as the shop sees it that drops its files there.

    Args:
        uri: `s3://BUCKET/FOLDER/`. Credentials and endpoint come from the environment.
    """

    def __init__(self, uri: str) -> None:
        self.bucket, _, self.prefix = uri.removeprefix("s3://").partition("/")
        self._client: S3Client = boto3.client("s3")

    def ensure_bucket(self) -> None:
        """Makes the bucket if there is none of that name."""
        try:
            self._client.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] != "404":
                raise
            self._client.create_bucket(Bucket=self.bucket)

    def put(self, file: OrderFile) -> None:
        """Uploads a file, over one of that name if there is one."""
        self._client.put_object(
            Bucket=self.bucket, Key=f"{self.prefix}{file.name}", Body=file.content
        )

    def etags(self) -> dict[str, str]:
        """The files that are there: whole keys, and ETags without quotes."""
        return dict(self._list())

    def remove(self, keys: Iterable[str]) -> None:
        """Deletes files by their whole keys."""
        for key in keys:
            self._client.delete_object(Bucket=self.bucket, Key=key)

    def _list(self) -> Iterator[tuple[str, str]]:
        pages = self._client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix):
            for entry in page.get("Contents", []):
                yield entry["Key"], entry["ETag"].strip('"')
