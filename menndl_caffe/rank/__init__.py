"""The near end of the pipe, on a training rank: a Trial becomes a Result, by a trainer process that is kept and fed."""
