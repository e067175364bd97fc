"""The local service over loopback HTTP."""
