"""What a running training shows: progress, loggers, dashboards."""
