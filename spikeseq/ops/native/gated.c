/* The kernels that make exponentials, which no two libraries round alike: here fused multiply-add is welcome. */
#include "dsn.h"
