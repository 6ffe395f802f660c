from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.objects import Position, S3Object
from dagster_s3inc.core.page import Below, ObjectsPage, Page, PageView
from dagster_s3inc.s3.entries import _TAKEN, entries_taken_out, page_of
from tests.s3.canned import client_answering, entry, page
from tests.s3.making import made

START = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)

FILTERS = st.sampled_from(
    [
        ObjectFilter(),
        ObjectFilter(storage_classes=["GLACIER"]),
        ObjectFilter(include="**/*.csv"),
        ObjectFilter(min_size=3),
        ObjectFilter(modified_after=START),
        ObjectFilter(include_folder_markers=True),
    ]
)

KEYS = st.sampled_from(["a", "b.csv", "c/", "d+e", "f%2Bg", "h/%C3%BC.csv", "i%0Aj"])


@st.composite
def pages(draw: st.DrawFn) -> Page:
    """A page in raw form, of objects around one moment, in seconds or milliseconds."""
    written = []
    fraction = draw(st.sampled_from(["milliseconds", "seconds"]))
    for key in draw(st.lists(KEYS, min_size=1, unique=True)):
        moment = START + timedelta(milliseconds=draw(st.integers(-2500, 2500)))
        values = {
            "Key": key,
            "LastModified": moment.replace(tzinfo=None).isoformat(timespec=fraction) + "Z",
            "ETag": "&quot;e&quot;",
            "Size": str(draw(st.integers(0, 5))),
            "StorageClass": draw(st.sampled_from(["STANDARD", "STANDARD", "GLACIER"])),
        }
        written.append(entry(list(values.items())))
    client = client_answering(page(*written))
    with entries_taken_out(client):
        response = client.list_objects_v2(Bucket="bucket")
    assert _TAKEN in response
    return page_of(response)


def plain(view: PageView) -> PageView:
    """The same view, in an order of its own."""
    below = Below(*(sorted(each.tolist()) for each in view.below))  # type: ignore[arg-type]
    above, wanted = sorted(view.above), sorted(view.wanted)
    return view._replace(above=above, wanted=wanted, below=below, all_match=False)


@given(pages(), FILTERS, st.integers(-3000, 3000), st.data())
def test_columns_tell_what_objects_tell(
    raw: Page, chosen: ObjectFilter, floor_at: int, data: st.DataObject
) -> None:
    """From any floor, through any filter, a raw page looks as a page of its objects does."""
    objects: list[S3Object] = made(raw)
    key = data.draw(st.sampled_from([each.key for each in objects]))
    moment = data.draw(
        st.sampled_from([each.last_modified for each in objects])
        | st.just(START + timedelta(milliseconds=floor_at))
    )
    wanted = frozenset(data.draw(st.lists(st.sampled_from([each.identity for each in objects]))))
    selection = chosen.selection("")
    given_ = data.draw(st.just(Position(moment, key)) | st.none()), selection, wanted
    seen = raw.seen_from(*given_)
    assert plain(seen) == plain(ObjectsPage(objects).seen_from(*given_))
    assert not seen.all_match or all(map(selection.matches, objects))


@given(pages())
def test_a_raw_page_knows_the_order_of_its_keys(raw: Page) -> None:
    """First key, last key and order are those of its objects, keys decoded."""
    objects = ObjectsPage(made(raw))
    assert (raw.ends, raw.is_in_key_order) == (objects.ends, objects.is_in_key_order)
