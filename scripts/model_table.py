"""The command `isda-bench models` in a checkout: `python scripts/model_table.py --help`."""

from isda_bench.cli.main import run_command

if __name__ == "__main__":
    run_command("models", program="python scripts/model_table.py")
