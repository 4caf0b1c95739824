"""The command `isda-bench measure` in a checkout: `python scripts/measure_generator.py --help`."""

from isda_bench.cli.main import run_command

if __name__ == "__main__":
    run_command("measure", program="python scripts/measure_generator.py")
