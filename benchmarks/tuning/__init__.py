"""How good a search is for the steps it takes, and whether it survives kills."""
