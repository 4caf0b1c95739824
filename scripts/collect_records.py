"""The command `isda-bench collect` in a checkout: `python scripts/collect_records.py --help`."""

from isda_bench.cli.main import run_command

if __name__ == "__main__":
    run_command("collect", program="python scripts/collect_records.py")
