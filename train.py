"""Trains: `python train.py --help` says what can be chosen, README.md what for."""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the imports go on: an end without a traceback

from isda_bench.cli.command_line import main  # noqa: E402

if __name__ == "__main__":
    main()
