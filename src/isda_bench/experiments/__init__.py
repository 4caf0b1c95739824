"""The experiments' cells: planned, selected, published."""
