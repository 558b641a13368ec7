"""Convolutions without their scattered zeros."""
