"""What a person or a script is told about a run, all from its journal: status, the best individuals, tables, a figure.

Generations are counted from 1 here, as in the progress line; in the journal they are counted from 0.
"""
