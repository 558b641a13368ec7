"""Street scenes in KITTI's format: its label files and difficulties, its splits, and scenes that are drawn here."""
