"""Figures as SVG elements of a page whose policy forbids inline styles and scripts."""

import re
from typing import NamedTuple
from xml.etree import ElementTree

from isda_bench.reporting.escape import html_text

_REFERENCE = re.compile(r"url\(#([^)]*)\)|^#(.*)$", re.DOTALL)
CURVE = "curve-"
"""Before the number of a curve in an id; the page finds the curve's parts by the number."""
_CURVE = re.compile(rf"{CURVE}(\d+)")
_SHAPES = ("svg", "defs", "style", "g", "path", "use", "clipPath", "rect", "text", "tspan", "title", "image")
"""Elements that matplotlib writes; anything else is left out."""


class Drawing(NamedTuple):
    """An SVG element, and the style sheet that its classes need."""

    svg: str
    css: str


def inline_svg(text: str, name: str, colour: str | None = None) -> Drawing:
    """The SVG file as an element: without namespaces, with ids and classes that are unique on the page.

    Args:
        text: of an SVG file that matplotlib wrote.
        name: before each id and class; letters, digits and hyphens.
        colour: that becomes the page's own text colour; null: none does.
    """
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) not in _SHAPES:
                parent.remove(child)
    ids = {value: f"{name}-{i}" for i, value in enumerate(_used_ids(root), 1)}
    sheet: dict[str, str] = {}
    for element in root.iter():
        element.tag = _local(element.tag)
        _attributes(element, ids, sheet, name, colour)
    rules = [f"svg.{name} {_local_style(root)}"] if _local_style(root) else []
    _remove_styles(root)
    root.set("class", name)
    rules += [f".{css_class} {{ {style} }}" for style, css_class in sheet.items()]
    return Drawing(_serialised(root), "\n".join(rules))


def _attributes(
    element: ElementTree.Element, ids: dict[str, str], sheet: dict[str, str], name: str, colour: str | None
) -> None:
    """Keeps the attributes that draw: no event handler, no reference to anything outside the element."""
    old = {_local(key): value for key, value in element.attrib.items()}
    element.attrib.clear()
    for key, value in old.items():
        if key.startswith("on") or (key == "href" and not value.startswith(("#", "data:image/png;"))):
            continue
        if colour is not None:
            value = value.replace(colour, "currentColor")
        if key == "id":
            if value in ids:
                element.set("id", ids[value])
            elif curve := _CURVE.fullmatch(value):
                element.set("data-curve", curve[1])
        elif key == "style":
            element.set("class", sheet.setdefault(_referring(value, ids), f"{name}-s{len(sheet) + 1}"))
        else:
            element.set(key, _referring(value, ids))


def _used_ids(root: ElementTree.Element) -> list[str]:
    """Ids that something in the drawing refers to, in the order of the references."""
    found: dict[str, None] = {}
    for element in root.iter():
        for value in element.attrib.values():
            for inside, whole in _REFERENCE.findall(value):
                found[inside or whole] = None
    return list(found)


def _referring(value: str, ids: dict[str, str]) -> str:
    def renamed(found: re.Match[str]) -> str:
        new = ids.get(found[1] or found[2], "none")
        return f"url(#{new})" if found[1] else f"#{new}"

    return _REFERENCE.sub(renamed, value)


def _local_style(root: ElementTree.Element) -> str:
    """The drawing's own style sheet; matplotlib writes one rule for all elements."""
    return " ".join((style.text or "").strip() for style in root.iter("style")).strip()


def _remove_styles(root: ElementTree.Element) -> None:
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag == "style"]:
            parent.remove(child)


def _serialised(element: ElementTree.Element) -> str:
    attributes = "".join(
        f' {key}="{html_text(" ".join(value.split()))}"' for key, value in element.attrib.items()
    )
    is_text = element.tag in ("text", "tspan", "title")
    text = element.text or ""  # white space where the text is in children, as of a power of ten
    inside = html_text(text) if is_text and text.strip() else ""
    inside += "".join(_serialised(child) for child in element)
    return f"<{element.tag}{attributes}>{inside}</{element.tag}>" + ("" if is_text else "\n")


def _local(tag: object) -> str:
    """Without the namespace; empty for a comment."""
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""
