/* Work on several threads. */
#pragma once
#include <stddef.h>

#define MAX_THREADS 64

/* body(arguments + i * size) for each i below `count`, side by side, and done when it returns. */
void spikeseq_on_threads(void *(*body)(void *), void *arguments, size_t size, int count);
