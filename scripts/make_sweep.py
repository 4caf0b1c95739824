"""The command `isda-bench sweep` in a checkout: `python scripts/make_sweep.py --help`."""

from isda_bench.cli.main import run_command

if __name__ == "__main__":
    run_command("sweep", program="python scripts/make_sweep.py")
