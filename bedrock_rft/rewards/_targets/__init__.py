"""Targets that a reward can be invoked on: in process, in a subprocess, in Lambda."""
