"""What listing costs: this package and others, on the same synthetic bucket, in one run."""
