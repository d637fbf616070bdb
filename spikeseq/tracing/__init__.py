"""What a model computes on real data, counted: `trace` gives the events, `classify` says what a tensor held."""

from .record import PRODUCTS as PRODUCTS
from .record import Event as Event
from .record import Trace as Trace
from .record import trace as trace
from .values import Values as Values
from .values import classify as classify
