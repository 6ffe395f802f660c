"""The plot: what each way costs, against the number of objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.cases import Results
from benchmarks.targets import best_figure
from benchmarks.ways import WAYS

__all__ = ["draw"]

# Ours in shades of one colour and thick; the floor black; the others in colours that the
# colour-blind tell apart, each with a mark of its own.
_STYLES: Final = {
    "floor": ("black", "--", "."),
    "steady": ("#4f43dd", "-", "o"),
    "first": ("#8f87ef", "-", "s"),
    "tick": ("#2a2290", ":", "D"),
    "obstore_list": ("#d55e00", "-", "^"),
    "paginator": ("#009e73", "-", "v"),
    "s3fs_find": ("#e69f00", "-", "P"),
    "get_objects": ("#cc3377", "-", "X"),
}


def draw(results: Results, sizes: Sequence[int], path: Path) -> None:
    """Draws CPU seconds and peak memory against the number of objects, all axes logarithmic."""
    drawing = Drawing(figsize=(13, 6), dpi=110, layout="constrained")
    cpu, memory = drawing.subplots(1, 2)
    for way, (colour, line, mark) in _STYLES.items():
        points = [(size, best_figure(results, way, size)) for size in sizes]
        known = [(size, figure) for size, figure in points if figure is not None]
        for axes, values in (
            (cpu, [figure.cpu for _, figure in known]),
            (memory, [figure.peak for _, figure in known]),
        ):
            axes.plot(
                [size for size, _ in known],
                values,
                color=colour,
                linestyle=line,
                marker=mark,
                linewidth=2.5 if WAYS[way].is_ours else 1.3,
                markersize=7,
                label=WAYS[way].title,
            )
            # Hollow where only a share was listed.
            hollow = [(s, v) for (s, f), v in zip(known, values, strict=True) if f.is_reckoned]
            axes.scatter(
                [size for size, _ in hollow],
                [value for _, value in hollow],
                facecolors="white",
                edgecolors=colour,
                marker=mark,
                s=60,
                zorder=3,
            )
    _finish(cpu, "CPU seconds of one listing", sizes)
    _finish(memory, "Peak memory of the process, MB (imports included)", sizes)
    handles, labels = cpu.get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    drawing.savefig(path)


def _finish(axes: Axes, title: str, sizes: Sequence[int]) -> None:
    axes.set_title(title, loc="left")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("objects")
    axes.set_xticks(list(sizes), [f"{size:,}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.grid(True, which="major", color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
