"""Tuning: a study searches settings by trials that are ordinary runs, and goes on where it was."""
