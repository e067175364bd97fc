"""Training jobs of the local service."""
