"""What a reader sees of a figure: its visible texts with their boxes, after drawing."""

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text


def boxes(figure):
    """(text, box in pixels) of every visible text, as drawn."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    hidden = [t for axis in figure.axes if not axis.get_visible() for t in axis.findobj(Text)]
    hidden += [t for axis in figure.axes for t in ticks_outside(axis)]
    return [(t.get_text(), t.get_window_extent(renderer)) for t in shown if t not in hidden]


def ticks_outside(axis):
    """Labels of ticks that lie outside the axis' limits, which are not drawn."""
    found = []
    for line in (axis.xaxis, axis.yaxis):
        low, high = sorted(line.get_view_interval())
        span = 1e-6 * abs(high - low)
        for tick in [*line.get_major_ticks(), *line.get_minor_ticks()]:
            if not low - span <= tick.get_loc() <= high + span:
                found += [tick.label1, tick.label2]
    return found


def sizes(figure):
    """The sizes of all visible texts, in points."""
    return {text.get_fontsize() for text in figure.findobj(Text) if text.get_visible() and text.get_text()}


def unreadable(figure):
    """Texts that are cut by the figure's edge, and pairs that overlap by more than half a pixel."""
    shown = boxes(figure)
    width, height = figure.canvas.get_width_height()
    cut = [t for t, b in shown if b.x0 < -0.5 or b.y0 < -0.5 or b.x1 > width + 0.5 or b.y1 > height + 0.5]
    touching = [
        (a, b)
        for (a, one), (b, other) in combinations(shown, 2)
        if min(one.x1, other.x1) - max(one.x0, other.x0) > 0.5
        and min(one.y1, other.y1) - max(one.y0, other.y0) > 0.5
    ]
    return cut + touching
