"""Score given answers: one batch, or any number in order."""
