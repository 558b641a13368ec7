"""Data: COCO-format splits on disk, the embedded set `shapes`, and letterboxed samples for a detector."""
