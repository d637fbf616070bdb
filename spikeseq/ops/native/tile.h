/* How every kernel walks its data: rows of the batch, tiles of TILE steps, blocks of vectors, then single ones.

   Within a tile a block of channels runs all its steps with the state in registers; between tiles the state lies in a
   row of the checkpoint array, which is also what the backward pass starts from: it recomputes a tile's membranes from
   there instead of reading them back from memory. */
#pragma once
#include "fire.h"
#include "parallel.h"

#define TILE 32
#define WIDE 4 /* vectors side by side: four lines of a row, and enough work to hide one another's latency */

typedef struct {
  int64_t batch, time, width;
  int32_t threads, stream;
} extent_t;

INLINE int64_t tiles_of(const extent_t *e) { return (e->time + TILE - 1) / TILE; }

/* body(call, row, tile, channel, vectors, lanes) over channels [first, last) of one tile. */
#define OVER_CHANNELS(body, call, row, tile, first, last)                                \
  do {                                                                                   \
    int64_t n_ = (first);                                                                \
    for (; n_ + WIDE * VL <= (last); n_ += WIDE * VL) body(call, row, tile, n_, WIDE, VL); \
    for (; n_ + VL <= (last); n_ += VL) body(call, row, tile, n_, 1, VL);                  \
    if (n_ < (last)) body(call, row, tile, n_, 1, (int)((last) - n_));                     \
  } while (0)

#define EACH(i) _Pragma("GCC unroll 4") for (int i = 0; i < vectors; i++)

/* The row of inputs at step t; before step 0 lies the state, oldest first. */
INLINE const float *step_input(const extent_t *e, const float *x, const float *state, int lags, int64_t row, int64_t t) {
  return t >= 0 ? x + (row * e->time + t) * e->width : state + (row * (lags - 1) + lags - 1 + t) * e->width;
}

/* Rows of the next tile, asked for early: the backward pass walks from the end, and a pass that computes much leaves
   little time for a late row; hardware foresees neither. */
INLINE void fetch(const float *p) { __builtin_prefetch(p, 0, 2); }

/* 1 if no value is NaN or infinite: what a single step says of the state it leaves. */
INLINE int all_finite(const float *p, int64_t count) {
  float sum = 0.0f;
  for (int64_t i = 0; i < count; i++) sum += p[i] * 0.0f;
  return sum == 0.0f;
}

/* Adds a tile's partial sums to the row's double-precision totals, so that long sequences lose no digits. */
INLINE void accumulate(double *total, vf part, int lanes) {
  if (!total) return;
  for (int i = 0; i < lanes; i++) total[i] += part[i];
}
