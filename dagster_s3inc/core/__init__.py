"""The algorithm: values in, values out. No I/O, no clock, no Dagster."""
