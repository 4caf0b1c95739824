"""Implicit semantic data augmentation: experiments by configuration."""

__version__ = "0.1.0"
