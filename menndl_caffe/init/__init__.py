"""`menndl init`: templates and a search file from a net and a solver that are there."""
