"""Figures at a paper's size, from records, tables and statistics: a module a figure; `files` writes them."""
