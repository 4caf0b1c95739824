"""Takes pictures of what people see, to be looked at: the report, the documents, the terminal at 80 columns.

python scripts/screenshots.py                          all of them: build/screenshots
python scripts/screenshots.py report out=/tmp/pictures     one kind, elsewhere

A page that is wider than its window is reported. A browser is needed: Chromium or Chrome.
"""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

from headless_browser import Browser
from rich.console import Console
from rich.text import Text

from isda_bench.errors import UserError
from isda_bench.monitoring.grid_position import GridPosition
from isda_bench.monitoring.progress import Display

ROOT = Path(__file__).parents[1]
COLUMNS = 80
DESKTOP, PHONE = 1280, 390  # pixels
OPEN_ALL = "document.querySelectorAll('details').forEach(part => part.open = true)"
TRAIN = [sys.executable, "train.py"]
COMMANDS = {
    "help": [*TRAIN, "--help"],
    "help_of_a_loss": [*TRAIN, "--help", "loss=isda"],
    "mistakes": [*TRAIN, "model=resnet33", "loss=isdaa", "schedule.epochs=0", "schedule.factr=1"],
    "commands": ["isda-bench", "--help"],
    "runs": ["isda-bench", "runs"],
}


def main(arguments: list[str]) -> int:
    """Takes the pictures; 1 where something cannot be made, or a page is too wide."""
    chosen = [word for word in arguments if "=" not in word] or list(KINDS)
    places = [word.removeprefix("out=") for word in arguments if word.startswith("out=")]
    if set(chosen) - set(KINDS) or len(places) != len(arguments) - len([w for w in arguments if "=" not in w]):
        print(f"error: what is taken is one of {', '.join(KINDS)}; out=... is the folder", file=sys.stderr)
        return 1
    out = Path(places[-1] if places else ROOT / "build" / "screenshots")
    out.mkdir(parents=True, exist_ok=True)
    try:
        with Browser() as browser:
            problems = [problem for kind in chosen for problem in KINDS[kind](browser, out)]
    except UserError as error:
        problems = [str(error)]
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def pictures_of_report(browser: Browser, out: Path) -> Iterator[str]:
    """The report of the committed records, of one experiment, of one run and of none."""
    pages = out / "pages"
    kinds = {
        "report": ["runs_dir=build/none", "records=results/records"],
        "report_demo": ["runs_dir=build/none", "records=results/records", "experiment=demo"],
        "report_empty": ["runs_dir=build/none"],
    }
    for name, options in kinds.items():
        page = pages / f"{name}.html"
        command = ["isda-bench", "report", *options, f"out={page}"]
        subprocess.run(command, cwd=ROOT, check=name != "report_empty", capture_output=True)
        yield from _widths(browser, page, out / name)
    browser.open(pages / "report_demo.html", DESKTOP)
    browser.evaluate(OPEN_ALL)
    browser.picture(out / "report_demo_opened.png")
    browser.open(pages / "report_demo.html", DESKTOP)
    browser.evaluate("document.querySelector('.panel').scrollIntoView()")
    place = browser.evaluate("(({x, y, width}) => [x + .7 * width, y + 90])(document.querySelector('.panel').getBoundingClientRect())")
    browser.move_pointer(*place)
    browser.picture_of_window(out / "report_demo_pointer.png")


def pictures_of_documents(browser: Browser, out: Path) -> Iterator[str]:
    """Some pages of the site."""
    site = out / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(site.resolve())]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if built.returncode:
        yield f"mkdocs: {built.stderr.strip()}"
        return
    for name in ("index", "first_run", "reference"):
        page = next(path for path in (site / name / "index.html", site / f"{name}.html") if path.exists())
        yield from _widths(browser, page, out / f"docs_{name}")


def pictures_of_terminal(browser: Browser, out: Path) -> Iterator[str]:
    """Commands as a terminal of 80 columns shows them, and a run's progress."""
    for name, command in COMMANDS.items():
        shown = " ".join("python" if word == sys.executable else word for word in command)
        _terminal(browser, out / f"terminal_{name}.png", f"$ {shown}", Text.from_ansi(_output(command)))
    _terminal(browser, out / "terminal_progress.png", "a run alone, in a grid, in an evaluation", *_progress())
    yield from ()


def _widths(browser: Browser, page: Path, name: Path) -> Iterator[str]:
    """A page at a desktop's and a phone's width, light and dark."""
    for kind, width in (("desktop", DESKTOP), ("phone", PHONE)):
        for dark in (False, True):
            browser.open(page, width, dark)
            browser.picture(name.with_name(f"{name.name}_{kind}{'_dark' if dark else ''}.png"))
        wide = browser.evaluate("document.documentElement.scrollWidth")
        if wide > width:
            yield f"{page}: {wide} pixels wide in a window of {width}"


def _output(command: list[str]) -> str:
    """What the command writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, cwd=ROOT, env=environment)
    os.close(theirs)
    text = b""
    while True:
        try:
            read = os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            read = b""
        if not read:
            break
        text += read
    os.close(ours)
    process.wait()
    return text.decode().replace("\r\n", "\n")


def _progress() -> Iterator[Display]:
    """Displays in the middle of a run."""
    for position, evaluated in ((None, None), (GridPosition(3, 6), None), (GridPosition(3, 6), (31, 79))):
        now = [0.0]
        run = "cifar100-wrn28_10-isda-s0-0123abcd"
        display = Display(run, 240, 390, position, clock=lambda now=now: now[0])  # type: ignore[misc]
        display.begin(0)
        for _ in range(120):
            now[0] += 36.4
            display.epoch({"epoch": display.done // 390 + 1, "test_error": 21.53, "images_per_second": 1374.0})
        display.done += 0 if evaluated else 123
        display.evaluated = evaluated
        yield display


def _terminal(browser: Browser, file: Path, title: str, *content: object) -> None:
    """The picture of a terminal with this content."""
    console = Console(record=True, width=COLUMNS, force_terminal=True, file=open(os.devnull, "w"))
    console.print(title, style="bold", markup=False, highlight=False)
    for part in content:
        console.print(part)
    page = file.with_suffix(".html")
    page.write_text(console.export_html(inline_styles=True), encoding="utf-8")
    browser.open(page, 760)
    browser.picture(file)
    page.unlink()


KINDS: dict[str, Callable[[Browser, Path], Iterator[str]]] = {
    "report": pictures_of_report,
    "docs": pictures_of_documents,
    "terminal": pictures_of_terminal,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
