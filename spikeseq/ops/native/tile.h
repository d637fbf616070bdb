/* How every kernel walks its data: rows of the batch, tiles of TILE steps, blocks of vectors, then single ones.

   Within a tile a block of channels runs all its steps with the state in registers; between tiles the state lies in a
   row of the checkpoint array, which is also what the backward pass starts from: it recomputes a tile's membranes from
   there instead of reading them back from memory. */
#pragma once
#include "fire.h"
#include "parallel.h"

#define TILE 32
#define WIDE 4   /* vectors side by side where the state is all there is to hold */
#define NARROW 2 /* the same where a tile's membranes are held too */

typedef struct {
  int64_t batch, time, width;
  int32_t threads, stream;
} extent_t;

INLINE int64_t tiles_of(const extent_t *e) { return (e->time + TILE - 1) / TILE; }

/* body(call, row, tile, channel, vectors, lanes) over channels [first, last) of one tile. */
#define OVER_CHANNELS(body, wide, call, row, tile, first, last)                          \
  do {                                                                                   \
    int64_t n_ = (first);                                                                \
    for (; n_ + (wide) * VL <= (last); n_ += (wide) * VL) body(call, row, tile, n_, wide, VL); \
    for (; n_ + VL <= (last); n_ += VL) body(call, row, tile, n_, 1, VL);                  \
    if (n_ < (last)) body(call, row, tile, n_, 1, (int)((last) - n_));                     \
  } while (0)

#define EACH(i) _Pragma("GCC unroll 4") for (int i = 0; i < vectors; i++)

/* Adds a tile's partial sums to the row's double-precision totals, so that long sequences lose no digits. */
INLINE void accumulate(double *total, vf part, int lanes) {
  if (!total) return;
  for (int i = 0; i < lanes; i++) total[i] += part[i];
}
