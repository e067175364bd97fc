"""Settings, endpoint and identity of a client."""
