"""Pure functions on tensors, without parameters."""

from .dispatch import BackendError as BackendError
from .dispatch import backend as backend
from .dispatch import backends as backends
from .linear import linear_scan as linear_scan
from .linear import sliding as sliding
from .spiking import conv_dsn as conv_dsn
from .spiking import dsn as dsn
from .spiking import lif as lif
from .spiking import prf as prf
from .spiking import spike as spike
from .surrogate import Surrogate as Surrogate
from .surrogate import atan as atan
from .surrogate import integer as integer
from .surrogate import rect as rect
from .surrogate import sigmoid as sigmoid
from .surrogate import triangle as triangle
