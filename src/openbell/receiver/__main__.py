"""``python -m openbell.receiver``: started by the supervisor, not by hand."""

import sys

from openbell.receiver.process import main

sys.exit(main(sys.argv[1:]))
