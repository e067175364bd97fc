"""Reward code that runs inside Lambda; standard library and botocore only."""
