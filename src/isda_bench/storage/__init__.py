"""What runs leave on disk: directories, locks, checkpoints, records."""
