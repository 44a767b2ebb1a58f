"""Evaluations: a model on a split of a data set, with one record a row, repeatable and kept."""
