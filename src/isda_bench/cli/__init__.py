"""Command lines: what is typed becomes runs."""
