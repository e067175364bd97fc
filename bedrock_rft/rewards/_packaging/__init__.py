"""Package a reward as a Lambda zip."""
