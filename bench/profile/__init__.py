"""`umd-engine bench`: what a model's units and whole scans cost on this machine, in time, memory and energy."""
