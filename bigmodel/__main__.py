"""`python -m bigmodel`: the command line."""

import sys

from bigmodel.cli.runs import main

sys.exit(main(sys.argv[1:]))
