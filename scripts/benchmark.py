"""The command `isda-bench benchmark` in a checkout: `python scripts/benchmark.py --help`."""

from isda_bench.cli.main import run_command

if __name__ == "__main__":
    run_command("benchmark", program="python scripts/benchmark.py")
