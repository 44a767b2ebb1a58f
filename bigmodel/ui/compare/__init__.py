"""The page Compare: which runs, who is better, what sets them apart, their curves, answers and settings side by side."""
