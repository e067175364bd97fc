"""Score given answers: one batch, or any number of rows, with the results in the order of the rows."""
