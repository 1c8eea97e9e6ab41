import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "data")]  # what tests share: cohort.py, asked_model.py, s3_common.py
