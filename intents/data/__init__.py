"""The data set, where it comes from, and the logits that models give for it."""
