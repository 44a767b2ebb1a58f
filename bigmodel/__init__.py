"""bigmodel: train and try a large model in a browser."""

__version__ = "0.1.0"
