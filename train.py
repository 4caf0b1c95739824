"""The command `isda-bench train` in a checkout: `python train.py --help`."""

from isda_bench.cli.main import run_command

if __name__ == "__main__":
    run_command("train", program="python train.py")
