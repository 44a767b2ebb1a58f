"""What bigmodel promises when things go wrong, tried out: each row breaks one thing on purpose, many times."""
