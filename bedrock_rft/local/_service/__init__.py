"""The local service's routes and storage."""
