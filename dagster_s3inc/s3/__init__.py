"""Talking to S3 through boto3: locations, listings, and errors that say what to do."""
