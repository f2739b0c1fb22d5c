"""``python -m openbell``: the same as the ``openbell`` command."""

import sys

from openbell.cli import main

if __name__ == "__main__":
    sys.exit(main())
