"""Takes pictures of the report, the documents and the terminal, to be looked at.

isda-bench screenshots                       all of them: build/screenshots
isda-bench screenshots only=report           one kind: report, docs or terminal
isda-bench screenshots out=/tmp/pictures     another folder

Pages are taken at a desktop's and a phone's width, light and dark; the terminal has 80 columns. It needs
Chromium or Chrome, and a checkout as the working directory. The exit code is 1 where a page is wider than its
window.
"""

from pathlib import Path
from typing import Literal

from isda_bench.benchmarks.screenshots.browser import Browser
from isda_bench.benchmarks.screenshots.pictures import KINDS
from isda_bench.config.options import Options, main
from isda_bench.errors import UserError


class ScreenshotOptions(Options):
    """Options of the command, given as key=value."""

    only: Literal["report", "docs", "terminal"] | None = None
    out: str = "build/screenshots"


def screenshots(options: ScreenshotOptions) -> None:
    """Takes the pictures.

    Raises:
        UserError: there is no browser, this is no checkout, or something that was taken is wrong.
    """
    if not Path("mkdocs.yml").is_file():
        raise UserError("screenshots are taken in a checkout: there is no mkdocs.yml here")
    out = Path(options.out).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    with Browser() as browser:
        kinds = [options.only] if options.only else list(KINDS)
        problems = [problem for kind in kinds for problem in KINDS[kind](browser, out)]
    print("written:", out)
    if problems:
        raise UserError("\n".join(problems))


def command() -> None:
    """Runs it with the options of the command line."""
    main(ScreenshotOptions, screenshots, __doc__)
