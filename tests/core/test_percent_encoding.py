from __future__ import annotations

from urllib.parse import quote_plus

from botocore.compat import unquote_str
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.columns import decoded_keys

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)

# Codes whole and broken, of characters and of parts of them.
CODES = ["%41", "%3d", "%3D", "%25", "%2541", "%0A", "%00", "%2B", "%C3%BC", "%C3", "%ED%A0%80"]
PIECES = st.sampled_from([*CODES, "%", "%%", "%4", "%zz", "+", "\n", "ü", "4", "1", "a", "/"])


@given(st.lists(TEXTS, min_size=1))
def test_keys_survive_the_round_trip(keys: list[str]) -> None:
    """Keys that are encoded as servers do it come back as they were."""
    for safe in ("", "/"):
        encoded = [quote_plus(key, safe=safe).encode() for key in keys]
        assert decoded_keys(encoded) == [key.encode() for key in keys]


@given(st.lists(st.lists(PIECES, min_size=1).map("".join), min_size=1))
def test_broken_codes_are_read_as_botocore_reads_them(keys: list[str]) -> None:
    """Whatever the keys are, all at once become what botocore makes of each."""
    encoded = [key.encode() for key in keys]
    assert decoded_keys(encoded) == [unquote_str(key).encode() for key in keys]
