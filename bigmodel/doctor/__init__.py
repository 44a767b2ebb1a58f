"""The doctor: reads the curve of a run, says what is wrong with it and what would do."""
