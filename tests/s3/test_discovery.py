from __future__ import annotations

from collections.abc import Callable

from dagster_s3inc.s3.discovery import discovered_cuts


def folders_of(keys: list[str], asked: list[str]) -> Callable[[str], list[str]]:
    """Names folders as S3 does, and notes what was asked."""

    def folders(prefix: str) -> list[str]:
        asked.append(prefix)
        inside = (key[len(prefix) :] for key in keys if key.startswith(prefix))
        return sorted({prefix + rest.split("/")[0] + "/" for rest in inside if "/" in rest})[:1000]

    return folders


def test_folders_are_cuts() -> None:
    """Where there are many folders, one request finds the cuts."""
    asked: list[str] = []
    keys = [f"in/{number:03}/x" for number in range(500)]
    cuts = discovered_cuts(folders_of(keys, asked), "in/", "in/000/w", pages=16)
    assert asked == ["in/"]
    assert cuts == [f"in/{number:03}/" for number in range(1, 500)]


def test_several_small_folders_go_to_a_cut() -> None:
    """Where one page has held many folders, there is a cut only after many."""
    keys = [f"in/{number:03}/x" for number in range(900)]
    cuts = discovered_cuts(folders_of(keys, []), "in/", "in/160/", pages=16)
    assert cuts == [f"in/{number:03}/" for number in range(200, 900, 40)]


def test_single_folders_are_entered() -> None:
    """Where there is one folder, or few, those within are asked for."""
    asked: list[str] = []
    keys = [f"in/deep/{a}/{b:02}/x" for a in "pq" for b in range(20)]
    cuts = discovered_cuts(folders_of(keys, asked), "in/", "in/deep/p/00/x", pages=16)
    assert asked[:4] == ["in/", "in/deep/", "in/deep/p/", "in/deep/q/"]
    assert {"in/deep/q/", "in/deep/p/07/", "in/deep/q/13/"} <= set(cuts)
    assert min(cuts) > "in/deep/p/00/x"


def test_few_requests_are_sent() -> None:
    """However deep and bushy the folders, no more than a dozen requests."""
    asked: list[str] = []
    keys = [f"{a}/{b}/{c}/{d}/x" for a in "abc" for b in "abc" for c in "abc" for d in "abc"]
    discovered_cuts(folders_of(keys, asked), "", "a/a/a/a/", pages=16)
    assert len(asked) == 12


def test_no_folders_make_no_cuts() -> None:
    """Where there are no folders, one request tells so."""
    asked: list[str] = []
    assert discovered_cuts(folders_of(["a", "b"], asked), "", "a", pages=16) == []
    assert asked == [""]
