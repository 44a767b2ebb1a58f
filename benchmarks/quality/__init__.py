"""How well the models do: baselines, a table of named checks, and the figures they gave."""
