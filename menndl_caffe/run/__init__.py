"""The master: what makes a run this run, the loop that carries it, and what its user sees of it on the way."""
