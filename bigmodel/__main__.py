"""`python -m bigmodel`: the command line."""

import sys

from bigmodel.cli.command import main

sys.exit(main(sys.argv[1:]))
