"""Calls the scripts within the process of a test, so that their errors are seen as they are raised."""

import importlib.util
from functools import cache
from types import ModuleType

from isda_bench.config.options import parse
from tiny import REPOSITORY

COMMANDS = {
    "collect_records": ("CollectOptions", "collect"),
    "evaluate": ("EvaluateOptions", "evaluate"),
    "make_figures": ("FigureOptions", "make_figures"),
    "make_report": ("ReportOptions", "make_report"),
    "make_tables": ("TableOptions", "make_tables"),
    "measure_generator": ("MeasureOptions", "measure"),
    "runs": ("RunsOptions", "runs"),
}


@cache
def script(name: str) -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location(f"script_{name}", REPOSITORY / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call_script(name: str, *arguments: str) -> None:
    """Runs the script; raises what a user would be told."""
    options, command = (getattr(script(name), attribute) for attribute in COMMANDS[name])
    command(parse(options, list(arguments)))
