"""The task of detection: Darknet's networks, COCO's data, losses, measures and pictures."""
