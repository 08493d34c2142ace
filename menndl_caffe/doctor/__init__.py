"""`menndl doctor`: what works on this machine, or for the ranks of this job, and what to do about what does not."""
from __future__ import annotations

from menndl_caffe.doctor.machine import Finding, World, examine, examine_world, table

__all__ = ["Finding", "World", "examine", "examine_world", "table"]
