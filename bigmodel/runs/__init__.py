"""Runs: their folders, the index over them, the worker process and the supervisor that starts it."""
