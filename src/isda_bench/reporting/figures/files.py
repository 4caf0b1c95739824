"""Figures as files (SVG, PNG and PDF) and as elements of a page. The same figure gives the same bytes."""

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from isda_bench.reporting.escape import escape_labels
from isda_bench.reporting.figures.page import INK, STYLE
from isda_bench.reporting.inline_svg import Drawing, inline_svg
from isda_bench.runtime.atomic_files import write_atomically

KINDS = ("svg", "png", "pdf")
NO_DATE: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": None}
DPI = 150


def write(figure: Figure, path: Path) -> list[Path]:
    """Writes `path` with the endings .svg, .png and .pdf, and returns all three."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = [path.with_name(f"{path.name}.{kind}") for kind in KINDS]
    for kind, file in zip(KINDS, written, strict=True):
        write_atomically(file, _rendered(figure, kind))
    return written


def drawing(figure: Figure, name: str, part: Bbox | None = None) -> Drawing:
    """The figure as an SVG element for a page: transparent, with text as text in the page's colour.

    Args:
        figure: drawn here.
        name: unique on the page; letters, digits and hyphens.
        part: of the figure, in inches; null: all of it.
    """
    with mpl.rc_context({"svg.fonttype": "none"}):
        text = _rendered(figure, "svg", transparent=True, bbox_inches=part).decode()
    return inline_svg(text, name, INK)


def _rendered(figure: Figure, kind: str, **options: Any) -> bytes:
    escape_labels(figure)
    buffer = io.BytesIO()
    with mpl.rc_context({key: STYLE[key] for key in ("svg.hashsalt", "pdf.fonttype")}):
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=NO_DATE[kind], **options)
    return buffer.getvalue()
