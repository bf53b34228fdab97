"""What of the Matrix specification is there: the support table, and the specification's data where it is at hand."""
