"""The command `isda-bench invert` in a checkout: `python scripts/invert_features.py --help`."""

from isda_bench.cli.main import run_command

if __name__ == "__main__":
    run_command("invert", program="python scripts/invert_features.py")
