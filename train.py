"""Trains: `python train.py --help` says what can be chosen, README.md what for."""

from isda_bench.command_line import main

if __name__ == "__main__":
    main()
