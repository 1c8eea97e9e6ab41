"""Made-up whole-body scans with exact labels: no patients. What they are good for is in docs/phantom.md."""

from umd_engine.data.phantom.cohort import COHORTS, SIZES, PhantomScan, Subject, make_subject
from umd_engine.data.phantom.files import write_cohort

__all__ = ["COHORTS", "SIZES", "PhantomScan", "Subject", "make_subject", "write_cohort"]
