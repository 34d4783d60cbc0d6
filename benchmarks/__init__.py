"""What the pipeline costs, beside honest baselines, measured in turn on one machine: `make bench`."""
