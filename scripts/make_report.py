"""The command `isda-bench report` in a checkout: `python scripts/make_report.py --help`."""

from isda_bench.cli.main import run_command

if __name__ == "__main__":
    run_command("report", program="python scripts/make_report.py")
