"""The command `isda-bench figures` in a checkout: `python scripts/make_figures.py --help`."""

from isda_bench.cli.main import run_command

if __name__ == "__main__":
    run_command("figures", program="python scripts/make_figures.py")
