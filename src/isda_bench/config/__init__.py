"""The configuration: its keys, their check, the names that follow from it."""
