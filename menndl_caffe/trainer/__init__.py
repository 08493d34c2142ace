"""The far end of the pipe: a process in the engine's own Python that trains what it is sent."""
