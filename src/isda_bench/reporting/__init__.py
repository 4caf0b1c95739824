"""Tables, figures, claims and the report, made from records."""
