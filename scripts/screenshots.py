"""The command `isda-bench screenshots` in a checkout: `python scripts/screenshots.py --help`."""

from isda_bench.cli.main import run_command

if __name__ == "__main__":
    run_command("screenshots", program="python scripts/screenshots.py")
