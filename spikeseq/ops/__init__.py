"""Pure functions on tensors, without parameters."""

from .dispatch import BackendError as BackendError
from .dispatch import backend as backend
from .dispatch import backends as backends
from .operations import conv_dsn as conv_dsn
from .operations import dsn as dsn
from .operations import lif as lif
from .operations import linear_scan as linear_scan
from .operations import prf as prf
from .operations import sliding as sliding
from .operations import spike as spike
from .surrogate import Surrogate as Surrogate
from .surrogate import atan as atan
from .surrogate import integer as integer
from .surrogate import rect as rect
from .surrogate import sigmoid as sigmoid
from .surrogate import triangle as triangle
