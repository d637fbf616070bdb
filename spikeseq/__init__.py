"""spikeseq: parallel spiking neurons for long sequences, exactly equal to their serial form."""

from . import energy as energy
from . import ops as ops
from .blocks import Backbone as Backbone
from .blocks import PairClassifier as PairClassifier
from .blocks import SequenceClassifier as SequenceClassifier
from .blocks import TokenModel as TokenModel
from .neurons import DSN as DSN
from .neurons import LIF as LIF
from .neurons import PRF as PRF
from .neurons import PSN as PSN
from .neurons import MaskedPSN as MaskedPSN
from .neurons import Neuron as Neuron
from .neurons import SlidingPSN as SlidingPSN
from .neurons import detach as detach
from .ops import BackendError as BackendError
from .ops import backend as backend
from .ops import backends as backends

__version__ = "0.1.0"
