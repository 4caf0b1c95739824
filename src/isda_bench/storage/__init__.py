"""The files of runs: directories, locks, checkpoints, records."""
