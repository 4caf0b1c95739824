"""Trains a generator: `python scripts/train_generator.py --help` says what can be chosen."""

from isda_bench.cli.command_line import main
from isda_bench.config.generator_config import GeneratorConfig

if __name__ == "__main__":
    main(GeneratorConfig, program="isda_bench.gan.run")
