"""The command line, `python -m bigmodel`: the studio's verbs for a terminal."""
