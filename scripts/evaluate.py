"""The command `isda-bench evaluate` in a checkout: `python scripts/evaluate.py --help`."""

from isda_bench.cli.main import run_command

if __name__ == "__main__":
    run_command("evaluate", program="python scripts/evaluate.py")
