"""What in docs/ is made from the code: `python -m tests.documents` writes it anew, and a test says when it must be."""
