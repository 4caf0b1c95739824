"""The command `isda-bench tables` in a checkout: `python scripts/make_tables.py --help`."""

from isda_bench.cli.main import run_command

if __name__ == "__main__":
    run_command("tables", program="python scripts/make_tables.py")
