/* The kernels that make exponentials, apart so that the compiler may work on both files at once. */
#include "dsn.h"
