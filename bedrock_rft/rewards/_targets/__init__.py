"""Targets on which a reward can be invoked: this process, a subprocess, Lambda."""
