"""What is learnt and how it is tried: one file a task, found by itself."""
