"""The command `isda-bench generator` in a checkout: `python scripts/train_generator.py --help`."""

from isda_bench.cli.main import run_command

if __name__ == "__main__":
    run_command("generator", program="python scripts/train_generator.py")
