from . import drawing as drawing
from . import filters as filters
from . import functional as functional
from . import kernels as kernels
from . import shapes as shapes
from . import timeseries as timeseries
from .chains import Chain as Chain
from .convolution import convolve as convolve
from .convolution import correlate as correlate
from .convolution import plan as plan
from .learning import learn_kernel as learn_kernel
from .matrix import conv_matrix as conv_matrix
from .planner import Plan as Plan
from .planner import engines as engines
from .timeseries.chain import SeriesChain as SeriesChain
from .timeseries.frames import series as series
from .verification import verify as verify

__version__: str
