"""Trains a network, or every run of a grid (-m) or of a table (experiment=...)."""

from isda_bench.cli.command_line import main


def command() -> None:
    """Trains the runs of the command line."""
    main()
