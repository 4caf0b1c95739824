"""What a first user of a GPU wants to know, as checks that each pass, fail or say why they were skipped."""
