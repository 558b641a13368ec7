"""How the loss changes with each weight, to first order: methods that take its gradient, over a few batches."""
