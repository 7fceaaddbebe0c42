"""The doors: one file per function, each with a `handler`. All boto3 is in `_cloud`."""
