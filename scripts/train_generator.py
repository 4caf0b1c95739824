"""Trains a generator: `python scripts/train_generator.py --help` says what can be chosen."""

from isda_bench.command_line import main
from isda_bench.gan.config import GeneratorConfig

if __name__ == "__main__":
    main(GeneratorConfig, runs="isda_bench.gan.run")
