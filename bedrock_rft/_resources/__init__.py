"""The service's operations: files, jobs, events and models."""
