"""Running a plan on Ray: trials that share checkpoints, fan out over rows, and publish each row once."""
