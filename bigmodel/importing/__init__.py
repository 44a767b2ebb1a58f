"""Data sets that people bring: recognised, read in a process of its own, kept in versions that never change."""
