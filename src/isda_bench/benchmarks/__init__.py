"""Measurements of speed and memory; networks to compare with come with the extra `bench`."""
