"""Check a reward before a job uses it."""
