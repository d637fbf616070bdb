"""Blocks and whole models built of spiking neurons."""

from .backbone import Backbone as Backbone
from .block import Block as Block
from .cnn import ColumnCNN as ColumnCNN
from .cnn import EventCNN as EventCNN
from .cnn import SpikingCNN as SpikingCNN
from .encoder import TokenEncoder as TokenEncoder
from .encoder import ValueEncoder as ValueEncoder
from .heads import PairClassifier as PairClassifier
from .heads import PooledState as PooledState
from .heads import SequenceClassifier as SequenceClassifier
from .heads import ValidMean as ValidMean
from .norm import MaskedBatchNorm as MaskedBatchNorm
from .padding import Padding as Padding
from .resnet import SEWResNet18 as SEWResNet18
from .sampling import generate as generate
from .sdtcm import SDTCM as SDTCM
from .sdtcm import SpatialNeuron as SpatialNeuron
from .spikformer import Spikformer as Spikformer
from .ssm import SSM as SSM
from .token_model import TokenModel as TokenModel
