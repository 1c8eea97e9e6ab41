"""Statistics of scores, paired within the subject: intervals, tests, effect sizes, subgroups (docs/statistics.md)."""
