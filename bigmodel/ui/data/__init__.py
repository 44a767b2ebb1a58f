"""The Data page's sections."""
