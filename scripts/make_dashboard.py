"""The command `isda-bench dashboard` in a checkout: `python scripts/make_dashboard.py --help`."""

from isda_bench.cli.main import run_command

if __name__ == "__main__":
    run_command("dashboard", program="python scripts/make_dashboard.py")
