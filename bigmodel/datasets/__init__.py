"""Bundled data: one file a data set, found by itself; the rows lie in `bundle/`."""
