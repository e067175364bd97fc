"""HTTP exchanges with the service, over either identity."""
