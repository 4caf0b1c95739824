"""The command `isda-bench augmentations` in a checkout: `python scripts/show_augmentations.py --help`."""

from isda_bench.cli.main import run_command

if __name__ == "__main__":
    run_command("augmentations", program="python scripts/show_augmentations.py")
