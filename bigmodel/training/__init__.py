"""The training loop and what it stands on: losses, optimizers, schedules, precision, checkpoints."""
