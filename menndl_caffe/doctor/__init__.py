"""`menndl doctor`: what works on this machine, or for the ranks of this job, and what to do about what does not."""
