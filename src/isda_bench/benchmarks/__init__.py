"""Measurements of speed and memory: each module gives rows."""
