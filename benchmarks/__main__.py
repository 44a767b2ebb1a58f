"""`python -m benchmarks speed|quality|reliability ...`: each prints its figures and writes them into its report page."""

import sys
from importlib import import_module

ROOMS = ("speed", "quality", "reliability")


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in ROOMS:
        print(f"python -m benchmarks {'|'.join(ROOMS)} ...; --help after one of them explains it")
        return 2
    return import_module(f"benchmarks.{arguments[0]}.command").main(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
