"""Commands that print figures: speed, quality, reliability. Run from a checkout, as they take what they break from `tests/corpus/`, which imports nothing of them."""
