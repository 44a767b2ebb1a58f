"""Networks: one file an architecture, found by itself."""
