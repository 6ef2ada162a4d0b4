"""Filters along a time axis: streams of any length, gaps and uneven times included.

Nothing here knows of files: samples come as arrays, in parts of any size.
"""

from filterworks.timeseries.chain import SERIES_OPERATIONS, SeriesChain, SeriesStep
from filterworks.timeseries.options import Options
from filterworks.timeseries.resampling import Resampler, resample
from filterworks.timeseries.sampling import OrderError, Recogniser, Sampling, recognise
from filterworks.timeseries.stream import Peak, Report, SampleError, SeriesStream

__all__ = [
    "SERIES_OPERATIONS",
    "Options",
    "OrderError",
    "Peak",
    "Recogniser",
    "Report",
    "Resampler",
    "SampleError",
    "Sampling",
    "SeriesChain",
    "SeriesStep",
    "SeriesStream",
    "recognise",
    "resample",
]
