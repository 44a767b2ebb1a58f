"""Load a model once, answer many."""
