"""``python -m openbell.worker``: started by the supervisor, not by hand."""

import sys

from openbell.worker.process import main

sys.exit(main(sys.argv[1:]))
