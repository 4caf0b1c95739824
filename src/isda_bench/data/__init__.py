"""Data sets (one module each), batches that live on the device, and augmentations of a batch."""
