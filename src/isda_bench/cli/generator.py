"""Trains a generator of images, for `isda-bench train generator=...`."""

from isda_bench.cli.command_line import main
from isda_bench.config.generator_config import GeneratorConfig


def command() -> None:
    """Trains the runs of the command line."""
    main(GeneratorConfig, program="isda_bench.gan.run")
