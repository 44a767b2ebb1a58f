"""The page Evaluate: what was measured, and the rows behind each figure."""
