"""Monitoring of a running training: progress, loggers, dashboards."""
