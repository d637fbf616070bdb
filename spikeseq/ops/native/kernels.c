/* All kernels of one instruction set. build.py compiles this file once for each, with VARIANT naming the symbols. */
#include "dsn.h"
#include "lif.h"
#include "prf.h"
#include "scan.h"
#include "sliding.h"
