"""`python -m btnet_lab COMMAND`."""

import sys

from btnet_lab.cli import main

sys.exit(main())
