"""Comparisons of speed: our side and what people would pick instead, in one process tree, A B A B."""
