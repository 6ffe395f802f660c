"""A Dagster code location that loads files from S3 into DuckDB, and a program that runs it.

Read `definitions.py` first, then `assets.py`. `python -m example_project` starts everything.
"""
