"""`menndl simulate`: the search and the loop of `menndl run`, on ranks whose clock is virtual."""
