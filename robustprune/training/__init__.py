"""Training: one loop for every task, its objective, its schedules and its state."""
