/* The kernels that round as the reference does. build.py compiles this file once for each instruction set, without
   fused multiply-add, with VARIANT naming the symbols. */
#include "lif.h"
#include "prf.h"
#include "scan.h"
#include "sliding.h"
#include "spike.h"
