"""What is searched: the search file, its genes and its templates, and what they make of a genome."""
