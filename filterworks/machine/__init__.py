"""Loops compiled for the processor at hand; what they compute is decided elsewhere."""
