"""The site's further pages, beside docs/: README, CONTRIBUTING, results, examples and the reference.

Pages link files of the repository by their place in it, so that the links also work where the pages are
read in the repository. Here they become links of the site: to the page or file made from that file, or plain
text where the site has none.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import reference_page
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "docs/notebook.ipynb": "notebook.md",
    "results/tables": "results.md",
}
"""Place in the repository -> place in the site."""

LINK = re.compile(r"(?P<start>!?\[[^\]]*\]\()(?P<target>[^)#\s]*)(?P<rest>(?:#[^)\s]*)?\))")
NUMBERS = re.compile(r"<td[^>]*>(?P<text>[-+±\u2212\d.,%†‡()\[\] ]*\d[-+±\u2212\d.,%†‡()\[\] ]*)</td>")
EXAMPLE = re.compile(r"^\[(examples/[\w./]+\.py)\]\(\.\./examples/[\w./]+\)$", re.MULTILINE)


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages and files that lie outside docs/."""
    for source, place in PAGES.items():
        if place not in [file.src_uri for file in files]:
            files.append(File.generated(config, place, content=_text(ROOT / source)))
    for pattern in ("results/**/*.md", "results/**/*.png", "results/**/*.json", "LICENSE", "CITATION.cff"):
        for path in sorted(ROOT.glob(pattern)):
            if "records" not in path.parts:
                place = path.relative_to(ROOT).as_posix()
                files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Fills in the reference and the examples, and turns links of the repository into links of the site."""
    place = page.file.src_uri
    if place == "reference.md":
        markdown += "\n" + reference_page.reference()
    source = next((source for source, made in PAGES.items() if made == place), None)
    outside = place.startswith("results/")
    folder = Path(place if outside else source or f"docs/{place}").parent
    known = {file.src_uri for file in files}
    changed = LINK.sub(lambda link: _site_link(link, folder, place, known), _with_examples(markdown))
    return _titled(changed, place)


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Keeps a number with its deviation and count, or an interval, on one line of a table's cell."""
    return NUMBERS.sub(lambda cell: cell[0].replace(cell["text"], cell["text"].replace(" ", "&nbsp;")), html)


def _text(path: Path) -> str:
    return _notebook(path) if path.suffix == ".ipynb" else path.read_text()


def _notebook(path: Path) -> str:
    """The cells of a notebook as Markdown."""
    cells = json.loads(path.read_text())["cells"]
    texts = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    return "\n\n".join(f"```python\n{text}\n```" if kind == "code" else text for kind, text in texts)


def _with_examples(markdown: str) -> str:
    """Shows the code of an example below a line that is nothing but its link."""

    def shown(link: re.Match[str]) -> str:
        code = (ROOT / link[1]).read_text().rstrip().replace("\n", "\n    ")
        return f'??? example "{link[1]}"\n    ```python\n    {code}\n    ```'

    return EXAMPLE.sub(shown, markdown)


def _site_link(link: re.Match[str], folder: Path, place: str, known: set[str]) -> str:
    target = link["target"]
    if not target or "://" in target or target.startswith("mailto:"):
        return link[0]
    wanted = os.path.normpath(folder / target)
    made = PAGES.get(wanted, wanted.removeprefix("docs/"))
    if made in known:
        return f"{link['start']}{os.path.relpath(made, Path(place).parent)}{link['rest']}"
    if not (ROOT / wanted).exists():
        return link[0]  # mkdocs reports it
    return f"`{link['start'].strip('[](!')}`"


def _titled(markdown: str, place: str) -> str:
    """A title for tables that begin without one."""
    if not place.startswith("results/") or markdown.startswith("# "):
        return markdown
    return f"# {Path(place).stem.replace('_', ' ').capitalize()}\n\n{markdown}"
