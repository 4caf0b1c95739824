"""The command `isda-bench`: finds the sub-command, imports it and runs it.

A sub-command is a module of this package and a name in `COMMANDS`. The module's docstring is the usage text;
its function `command()` does the work. The usage text is read from the source: help imports no torch.
"""

import ast
import os
import select
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from textwrap import fill
from typing import NoReturn, TextIO

from isda_bench import __version__
from isda_bench.runtime.terminal import printable

COMMANDS = (
    *("train", "plan", "sweep", "runs", "evaluate"),
    *("tables", "report", "figures", "collect", "dashboard"),
    *("generator", "measure", "invert"),
    *("reproduce", "predict", "card"),
    *("benchmark", "gpu-check", "models", "augmentations", "screenshots"),
)
"""In the order of the help. The module of `gpu-check` is `gpu_check`."""

HELP_OF_COMPONENTS = ("train", "generator")
"""Commands whose `--help` lists the configuration's groups and keys (`help_page`)."""

HEAD = """isda-bench: implicit semantic data augmentation, by configuration.

  isda-bench <command> [key=value ...]
  isda-bench <command> --help
  isda-bench --version

Commands:
"""
BROKEN_PIPE = 141
"""Exit code, by the shells' convention of 128 + SIGPIPE."""
_HELP = frozenset(("-h", "--help"))


def main() -> None:
    """Runs the command that sys.argv names; exits with 2 if it names none."""
    with _whole_output():
        _main()


def _main() -> None:
    program = "python -m isda_bench" if Path(sys.argv[0]).name == "__main__.py" else "isda-bench"
    name, *arguments = sys.argv[1:] or [""]
    if name in COMMANDS:
        sys.argv[1:] = arguments
        run_command(name, f"{program} {name}")
    elif name in _HELP:
        print(overview(), end="")
    elif name == "--version":
        print_version()
    else:
        _exit_without_command(name, program)


def run_command(name: str, program: str) -> None:
    """Runs one command with the arguments in sys.argv[1:].

    Args:
        name: one of `COMMANDS`.
        program: the command as the user typed it, for its usage text.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports ends without a traceback
    with _whole_output():
        if _answered(name, program, sys.argv[1:]):
            return
        _check_homes(sys.argv[1:])
        module = import_module(f"isda_bench.cli.{_module(name)}")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        module.command()


def overview() -> str:
    """The help of `isda-bench`: every command with the first sentence of its usage text."""
    from isda_bench.cli.help_page import text_width  # a training's start needs no help

    width = max(map(len, COMMANDS))
    lines = []
    for name in COMMANDS:
        sentence = usage(name).splitlines()[0].removesuffix(".")
        head = f"  {name:{width}}  "
        lines.append(fill(sentence, text_width(), initial_indent=head, subsequent_indent=" " * len(head)))
    return HEAD + "\n".join(lines) + "\n"


def usage(name: str, program: str | None = None) -> str:
    """The usage text of a command, without importing its module.

    Args:
        name: one of `COMMANDS`.
        program: the command's name in the text; null: `isda-bench <name>`.
    """
    source = Path(__file__).with_name(f"{_module(name)}.py").read_text(encoding="utf-8")
    text = ast.get_docstring(ast.parse(source))
    assert text is not None
    return text.replace(f"isda-bench {name}", program) if program else text


def print_version() -> None:
    """Prints the package's version."""
    print(f"isda_bench {__version__}")


@contextmanager
def _whole_output() -> Iterator[None]:
    """Letters that the output's encoding lacks are written as escapes; a reader that is gone ends it quietly.

    Exits with 141, as a program that SIGPIPE ends, where the reader of stdout has ended (`| head`).
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _is_closed(sys.stdout):
            raise
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())  # for what Python itself flushes at its end
        sys.exit(BROKEN_PIPE)


def _is_closed(stream: TextIO) -> bool:
    """Whether it is a pipe whose reader has ended."""
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _check_homes(arguments: list[str]) -> None:
    """Exits with 2 where an argument begins with the home of a user that there is not."""
    for argument in arguments:
        value = argument.partition("=")[2]
        if value.startswith("~") and os.path.expanduser(value).startswith("~"):  # noqa: PTH111 - raises
            user = printable(value.partition("/")[0])
            print(f"error: {printable(argument)}: there is no home folder {user}", file=sys.stderr)
            sys.exit(2)


def _answered(name: str, program: str, arguments: list[str]) -> bool:
    """Handles the options that every command has. Returns whether nothing more is to be done."""
    if "--version" in arguments:
        print_version()
        return True
    if _HELP & set(arguments):
        if name in HELP_OF_COMPONENTS:
            from isda_bench.cli.help_page import print_help  # a training's start needs no help

            print_help(name, arguments)
        else:
            print(usage(name, program))
        return True
    return False


def _exit_without_command(name: str, program: str) -> NoReturn:
    """Exits with 2 and suggests a meaning of the first argument."""
    from isda_bench.config.problems import did_you_mean  # imports pydantic: the help need not wait for it

    if not name:
        message = f"no command; there are: {', '.join(COMMANDS)}"
    elif "=" in name or name in ("-m", "--multirun"):
        message = f"{name}: no such command; did you mean: {program} train {shlex.join(sys.argv[1:])}"
    else:
        message = f"{name}: no such command{did_you_mean(name, list(COMMANDS))}"
    print(f"error: {printable(message)}", file=sys.stderr)
    sys.exit(2)


def _module(name: str) -> str:
    return name.replace("-", "_")
