"""Measurements of speed and memory; what they compare with is the extra `bench`."""
