import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # hub_server.py is beside the tests of this folder
