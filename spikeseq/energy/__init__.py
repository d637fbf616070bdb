"""Firing rates, operation counts, energy at 45 nm, and the audit of what is spike-driven; all on real data."""

from .audits import AuditReport as AuditReport
from .audits import AuditRow as AuditRow
from .audits import audit as audit
from .formulas import ACCUMULATE as ACCUMULATE
from .formulas import MAC as MAC
from .formulas import MULTIPLY as MULTIPLY
from .formulas import paper_layer_energy as paper_layer_energy
from .formulas import s4d_channel_energy as s4d_channel_energy
from .report import EnergyReport as EnergyReport
from .report import EnergyRow as EnergyRow
from .report import energy as energy
