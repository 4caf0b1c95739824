"""The pictures: the report, the documents' site, the terminal at 80 columns."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

from isda_bench.benchmarks.screenshots.browser import Browser
from isda_bench.monitoring.grid_position import GridPosition
from isda_bench.monitoring.progress import Display

COLUMNS = 80
DESKTOP, PHONE = 1280, 390  # pixels
TERMINAL = 800
PROGRAM = [sys.executable, "-m", "isda_bench"]
OPEN_ALL = "document.querySelectorAll('details').forEach(part => part.open = true)"
PANEL = "document.querySelector('.panel')"
REPORTS = {
    "report": ["records=results/records", "runs_dir=build/none"],
    "report_demo": ["records=results/records", "runs_dir=build/none", "experiment=demo"],
    "report_empty": ["runs_dir=build/none"],
    "report_own": ["runs_dir=runs"],
}
"""Name of the picture -> options of the command; the last one where there are runs."""
PAGES = ("index", "first_run", "reference")
COMMANDS = {
    "commands": ["--help"],
    "help": ["train", "--help"],
    "help_of_a_loss": ["train", "--help", "loss=isda"],
    "mistakes": ["train", "model=resnet33", "loss=isdaa", "schedule.epochs=0", "schedule.factr=1"],
    "runs": ["runs"],
}


def pictures_of_report(browser: Browser, out: Path) -> Iterator[str]:
    """The report of the committed records, of one experiment, without a run, and of one's own runs."""
    for name, options in REPORTS.items():
        if name == "report_own" and not any(Path("runs").glob("*/record.json")):
            continue
        page = out / "pages" / f"{name}.html"
        page.unlink(missing_ok=True)
        done = subprocess.run([*PROGRAM, "report", *options, f"out={page}"], capture_output=True, text=True)
        if not page.exists():
            yield f"{name}: {done.stderr.strip()}"
            continue
        yield from _widths(browser, page, out, name)
    yield from _opened_and_pointed_at(browser, out / "pages" / "report_demo.html", out)


def _opened_and_pointed_at(browser: Browser, page: Path, out: Path) -> Iterator[str]:
    """The page with all that folds opened, and with the pointer on a figure."""
    browser.open(page, DESKTOP)
    browser.evaluate(f"{PANEL}.scrollIntoView()")
    place = f"(({{x, y, width}}) => [x + .7 * width, y + 90])({PANEL}.getBoundingClientRect())"
    browser.move_pointer(*browser.evaluate(place))
    if browser.evaluate(f"{PANEL}.querySelector('.values').hidden"):
        yield f"{page}: the pointer on a figure shows no values"
    browser.picture_of_window(out / "report_demo_pointer.png")
    browser.evaluate(OPEN_ALL)
    browser.picture(out / "report_demo_opened.png")


def pictures_of_documents(browser: Browser, out: Path) -> Iterator[str]:
    """Some pages of the site."""
    site = (out / "site").resolve()
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(site)]
    built = subprocess.run(command, capture_output=True, text=True)
    if built.returncode:
        yield f"mkdocs: {built.stderr.strip()}"
        return
    for name in PAGES:
        yield from _widths(browser, site / f"{name}.html", out, f"docs_{name}")


def pictures_of_terminal(browser: Browser, out: Path) -> Iterator[str]:
    """Commands as a terminal of 80 columns shows them, and a run's progress."""
    for name, arguments in COMMANDS.items():
        if name == "runs" and not Path("runs").is_dir():
            continue
        shown = Text.from_ansi(_output([*PROGRAM, *arguments]))
        _terminal(browser, out / f"terminal_{name}.png", " ".join(["$ isda-bench", *arguments]), shown)
    _terminal(browser, out / "terminal_progress.png", "a run; in a grid; in an evaluation", *_progress())
    yield from ()


def _widths(browser: Browser, page: Path, out: Path, name: str) -> Iterator[str]:
    """A page at a desktop's and a phone's width, light and dark; reports one that is too wide."""
    for kind, width in (("desktop", DESKTOP), ("phone", PHONE)):
        for dark in (False, True):
            browser.open(page, width, dark)
            browser.picture(out / f"{name}_{kind}{'_dark' if dark else ''}.png")
        wide = browser.evaluate("document.documentElement.scrollWidth")
        if wide > width:
            yield f"{page}: {wide} pixels wide in a window of {width}"


def _output(command: list[str]) -> str:
    """The output of the command on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment)
    os.close(theirs)
    text = b""
    try:
        while read := os.read(ours, 1 << 16):
            text += read
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    process.wait()
    return text.decode().replace("\r\n", "\n")


def _progress() -> Iterator[Display]:
    """Displays in the middle of a run of 240 epochs."""
    for position, evaluated in (
        (None, None),
        (GridPosition(3, 6, []), None),
        (GridPosition(3, 6, []), (31, 79)),
    ):
        times = iter([0.0] + 20 * [120 * 36.4])  # begins at 0, is asked again after 120 epochs
        display = Display("cifar100-wrn28_10-isda-s0-0123abcd", 240, 390, position, times.__next__)
        display.terminal = True  # else it prints its lines
        display.epoch({"epoch": 120, "test_error": 21.53, "images_per_second": 1374.0})
        display.done += 0 if evaluated else 123
        display.evaluated = evaluated
        yield display


def _terminal(browser: Browser, file: Path, title: str, *content: object) -> None:
    """The picture of a terminal with this content."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=COLUMNS, force_terminal=True, file=nowhere)
        console.print(title, style="bold", markup=False, highlight=False)
        for part in content:
            console.print(part)
        page = file.with_suffix(".html")
        page.write_text(console.export_html(inline_styles=True), encoding="utf-8")
    browser.open(page, TERMINAL, height=100)
    browser.picture(file)
    page.unlink()


KINDS: dict[str, Callable[[Browser, Path], Iterator[str]]] = {
    "report": pictures_of_report,
    "docs": pictures_of_documents,
    "terminal": pictures_of_terminal,
}
