"""The commands, a file a group. Each translates its arguments and calls; nothing is computed here."""
