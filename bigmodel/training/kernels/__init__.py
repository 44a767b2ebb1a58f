"""CPU and GPU kernels that make a training step faster and change nothing it learns."""
