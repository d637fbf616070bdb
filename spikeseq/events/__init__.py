"""Events of neuromorphic sensors: readers of the published formats, frames and voxel grids, augmentation."""

from .aedat import read_aedat2 as read_aedat2
from .aedat import read_aedat3 as read_aedat3
from .aedat import read_aedat4 as read_aedat4
from .augment import flip as flip
from .augment import roll as roll
from .frames import event_frames as event_frames
from .frames import voxel_grid as voxel_grid
from .gesture import read_gestures as read_gestures
from .lines import read_lines as read_lines
from .nmnist import read_nmnist as read_nmnist
from .prophesee import read_dat as read_dat
from .recording import Recording as Recording
from .spoken import iter_spoken as iter_spoken
from .spoken import read_spoken as read_spoken
