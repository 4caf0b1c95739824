"""The command `isda-bench runs` in a checkout: `python scripts/runs.py --help`."""

from isda_bench.cli.main import run_command

if __name__ == "__main__":
    run_command("runs", program="python scripts/runs.py")
