"""Checks of a GPU: each passes, fails, or is skipped with a reason."""
