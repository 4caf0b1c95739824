"""The package on fake CUDA tensors, without a GPU."""
