"""Pictures of what people see, to be looked at: pages and the terminal, by a browser without a window."""
