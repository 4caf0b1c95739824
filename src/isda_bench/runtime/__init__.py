"""The platform of a run: devices, ranks, atomic files, known faults of libraries."""
