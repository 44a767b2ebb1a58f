"""The Train page's sections."""
