"""What the process runs on: devices, ranks, atomic files, known faults of libraries."""
