"""``confusion.png``: of each true class, which share was predicted as what, with the counts."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

#: More classes than this are drawn without numbers, and further ones not at all.
WITH_NUMBERS, DRAWN = 14, 80


def confusion_picture(summary: dict[str, Any]) -> bytes:
    """The picture as PNG; rows sum to 100 %, columns outside the classes only where they hold pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = np.asarray(summary["confusion"]["counts"], np.int64)
    rows = len(counts)
    used = [i for i in range(counts.shape[1]) if i < min(rows, DRAWN) or (i >= rows and counts[:, i].any())]
    counts = counts[:DRAWN]
    shown, names = counts[:, used], [summary["confusion"]["columns"][i] for i in used]
    sums = counts.sum(axis=1, keepdims=True)
    share = np.divide(shown, sums, out=np.zeros(shown.shape), where=sums > 0)
    high, wide = shown.shape
    numbers = wide <= WITH_NUMBERS
    cell = 0.95 if numbers else 0.28
    figure = Figure(figsize=(2.9 + cell * wide, 1.9 + cell * high), dpi=140, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    font = 9 if numbers else 7
    axes.set_xticks(range(wide), [_short(n) for n in names], rotation=40, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(high), [_short(n) for n in summary["confusion"]["rows"][:DRAWN]])
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.tick_params(length=0, labelsize=font)
    axes.set_xlabel("predicted", labelpad=10)
    axes.set_ylabel("truth", labelpad=10)
    for edge in axes.spines.values():
        edge.set_visible(False)
    axes.set_xticks(np.arange(-0.5, wide), minor=True)
    axes.set_yticks(np.arange(-0.5, high), minor=True)
    axes.grid(which="minor", color="white", linewidth=2 if numbers else 0.5)
    axes.tick_params(which="minor", length=0)
    if numbers:
        for y in range(high):
            for x in range(wide):
                _write(axes, x, y, share=share[y, x], count=int(shown[y, x]), empty=not sums[y, 0])
    outside = sum(i >= rows for i in used)
    if outside:
        axes.axvline(wide - outside - 0.5, color="#59636e", linewidth=1.2)
    axes.text(
        0,
        -0.12 / high,
        "share of the true class, and pixels",
        transform=axes.transAxes,
        va="top",
        fontsize=8,
        color="#59636e",
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.15, metadata={"Software": None})
    return buffer.getvalue()


def _write(axes: Any, x: int, y: int, *, share: float, count: int, empty: bool) -> None:
    ink = "white" if share > 0.55 else "#1b1f24"
    text = "–" if empty else "0" if not count else f"{100 * share:.1f} %" if share >= 0.0005 else "< 0.05 %"
    axes.text(x, y - (0.1 if count else 0), text, ha="center", va="center", color=ink, fontsize=10)
    if count:
        axes.text(x, y + 0.22, compact(count), ha="center", va="center", color=ink, fontsize=7, alpha=0.85)


def compact(count: int) -> str:
    """``1,234``, ``56.7 k``, ``1.23 M``, ``4.56 G``."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if count >= size:
            value = count / (1000 if unit == "k" else size)
            return f"{value:.3g} {unit}" if value < 999.5 else f"{value:,.0f} {unit}"
    return f"{count:,}"


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:22]}…"
