"""What is wrong with the rows, before a model learns it: one file a check, findings with their rows and a remedy."""
