"""What the gradients of hyper-parameters are worth, on small data: docs/results.md."""
