"""Convolution with one exact meaning, for arrays, images and time series."""

__version__ = "0.1.0"
