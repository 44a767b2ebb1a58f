"""The checks, one file each, found by themselves."""
