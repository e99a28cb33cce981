"""One module a section of the results, and the tables that one of them is made of."""
