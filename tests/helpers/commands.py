"""Calls commands within the process of a test, so that their errors are seen as they are raised."""

from importlib import import_module

from isda_bench.config.options import parse

COMMANDS = {
    "card": ("CardOptions", "card"),
    "predict": ("PredictOptions", "predict_images"),
    "reproduce": ("ReproduceOptions", "reproduce"),
    "collect": ("CollectOptions", "collect"),
    "evaluate": ("EvaluateOptions", "evaluate"),
    "figures": ("FigureOptions", "make_figures"),
    "report": ("ReportOptions", "make_report"),
    "tables": ("TableOptions", "make_tables"),
    "measure": ("MeasureOptions", "measure"),
    "runs": ("RunsOptions", "runs"),
}


def call(name: str, *arguments: str) -> None:
    """Runs `isda-bench <name> <arguments>`; raises the error that a user would read."""
    module = import_module(f"isda_bench.cli.{name}")
    options, command = (getattr(module, attribute) for attribute in COMMANDS[name])
    command(parse(options, list(arguments)))
