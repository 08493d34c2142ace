"""Caffe on paper: its messages, its text format, and what a net will be before an engine makes it. No engine here."""
