"""What all tests share: no example of a property is timed, a busy machine is no fault; tables are as wide as usual."""

import os

from hypothesis import settings

os.environ.pop("COLUMNS", None)  # pytest-xdist hands its own terminal's on

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
