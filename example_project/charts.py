"""Tables and plots as Markdown, which Dagster shows as asset metadata."""

import base64
import io
from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure

__all__ = ["bar_chart", "markdown_table"]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Writes rows as a Markdown table, the first column left and the others right."""
    lines = [header, [":--", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def bar_chart(title: str, bars: Sequence[tuple[str, float]]) -> str:
    """Draws labelled bars as a PNG inside a Markdown image, so that it needs no place to lie."""
    # Figure instead of pyplot: no window system is looked for, and nothing is global.
    figure = Figure(figsize=(8, 3), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.bar([label for label, _ in bars], [value for _, value in bars], color="#4f43dd")
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", rotation=45)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    data = base64.b64encode(picture.getvalue()).decode()
    return f"![{title}](data:image/png;base64,{data})"
