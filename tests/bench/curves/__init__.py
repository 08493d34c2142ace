"""Rules that end trainings early, replayed on the recorded learning curves of whole trainings: see README.md."""
