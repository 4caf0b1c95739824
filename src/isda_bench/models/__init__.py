"""Networks: one module a family, one contract (`base.Classifier`)."""
