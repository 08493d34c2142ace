"""What people see of a search while it runs: `menndl watch` in a terminal, `menndl report --watch` in a browser.

Both read the journal on, at each look what is new, and never write into the run's folder.
"""
