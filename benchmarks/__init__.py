"""Commands that print figures: speed, quality, reliability. Imports bigmodel and is imported by nothing of it."""
