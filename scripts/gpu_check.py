"""The command `isda-bench gpu-check` in a checkout: `python scripts/gpu_check.py --help`."""

from isda_bench.cli.main import run_command

if __name__ == "__main__":
    run_command("gpu-check", program="python scripts/gpu_check.py")
