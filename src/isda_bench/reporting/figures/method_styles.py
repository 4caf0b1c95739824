"""The look of each method: one colour, line and marker, the same in every figure.

The thirteen methods of the paper's comparison have fixed styles. Methods with the same kind of line differ in
lightness, so that a grey print and readers with any kind of colour blindness can tell them apart; no two
methods share a marker. Variants of a method ('isda (strength=0.25)') keep its colour and differ in line and
marker; a user's own methods take further colours and lines.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

Line = str | tuple[float, tuple[float, ...]]
"""A kind of line as matplotlib names it, or an offset and the lengths of strokes and gaps in line widths."""
SOLID, DASHED, DOTTED, DASH_DOT = "-", "--", ":", "-."
LONG_DASHED: Line = (0, (9, 2.5))
DASH_DOT_DOT: Line = (0, (5, 1.2, 1, 1.2, 1, 1.2))
KINDS_OF_LINE: tuple[Line, ...] = (SOLID, DASHED, DOTTED, DASH_DOT, LONG_DASHED, DASH_DOT_DOT)


class MethodStyle(NamedTuple):
    """A colour, a kind of line, and matplotlib's name of a marker that can be hollow."""

    colour: str
    line: Line
    marker: str


METHOD_STYLES = {
    "cross_entropy": MethodStyle("#808080", SOLID, "o"),
    "cross_entropy + dropout": MethodStyle("#4d4d4d", DASHED, "h"),
    "large_margin": MethodStyle("#2f7f1a", DASHED, "v"),
    "disturb_label": MethodStyle("#62ccb6", DOTTED, "X"),
    "focal": MethodStyle("#c9a400", SOLID, "^"),
    "center": MethodStyle("#2456b3", DOTTED, "p"),
    "lq": MethodStyle("#ae78d6", DOTTED, "d"),
    "wgan": MethodStyle("#7b4a12", DASH_DOT, "<"),
    "cgan": MethodStyle("#b8651b", DASH_DOT, ">"),
    "acgan": MethodStyle("#f0a6d0", DASH_DOT, "P"),
    "infogan": MethodStyle("#4499d4", DASH_DOT, "*"),
    "isda": MethodStyle("#c8102e", SOLID, "s"),
    "isda + dropout": MethodStyle("#ee6a50", DASHED, "D"),
}
"""By the names that tables print, in the order of the paper's comparison."""
FURTHER_COLOURS = ("#008b8b", "#b0307a", "#6b8e23", "#5a4fcf", "#e0812b", "#3f6f8f", "#a0522d", "#93a1c1")
MARKERS = tuple(style.marker for style in METHOD_STYLES.values())


def method_styles(names: Iterable[str], known: Iterable[str] = ()) -> dict[str, MethodStyle]:
    """A style for each name; no two are equal, and none equals that of one of the paper's methods.

    Which style a further name takes depends on the name, so that it is the same in every figure unless two
    names compete for one.

    Args:
        names: of methods, with settings in parentheses where there are any.
        known: names that choose first: those of all figures that belong together.
    """
    taken = set(METHOD_STYLES.values())
    styles = dict(METHOD_STYLES)
    wanted = list(names)
    for name in [*sorted(set(known)), *sorted(set(wanted))]:
        if name not in styles:
            styles[name] = _first_free(name, _candidates(name), taken)
            taken.add(styles[name])
    return {name: styles[name] for name in wanted}


def in_order(names: Iterable[str]) -> list[str]:
    """The paper's methods in its order, each before its variants; then the others by name."""
    places = {name: place for place, name in enumerate(METHOD_STYLES)}
    return sorted(set(names), key=lambda name: (places.get(family(name), len(places)), name))


def family(name: str) -> str:
    """The method without its settings: 'isda + dropout' of 'isda (strength=0.25) + dropout'."""
    kept, depth = "", 0
    for sign in name:
        depth += sign == "("
        kept += sign if depth == 0 else ""
        depth -= sign == ")" and depth > 0
    return " ".join(kept.split())


def _candidates(name: str) -> Sequence[MethodStyle]:
    """The styles that a name may take; neighbours differ in everything that they can differ in.

    None has both the line and the marker of one of the paper's methods: in grey they would be alike.
    """
    own = METHOD_STYLES.get(family(name))
    colours = FURTHER_COLOURS if own is None else (own.colour,)
    lines = KINDS_OF_LINE[4:] if own is None else KINDS_OF_LINE
    looks = [(colour, line) for line in lines for colour in colours]
    count = len(looks) * len(MARKERS)  # the two have no common factor: every pair comes once
    styles = [MethodStyle(*looks[i % len(looks)], MARKERS[i % len(MARKERS)]) for i in range(count)]
    fixed = {(style.line, style.marker) for style in METHOD_STYLES.values()}
    return [style for style in styles if (style.line, style.marker) not in fixed]


def _first_free(name: str, candidates: Sequence[MethodStyle], taken: set[MethodStyle]) -> MethodStyle:
    """The candidate at the place of the name's hash, or the next whose colour and marker nobody has.

    Where all are taken, the next whose line makes it another one.
    """
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % len(candidates)
    ordered = [*candidates[start:], *candidates[:start]]
    looks = {(style.colour, style.marker) for style in taken}
    new = [style for style in ordered if (style.colour, style.marker) not in looks]
    return next((style for style in [*new, *ordered] if style not in taken), ordered[0])
