/* What the kernels of a single step share. A step kernel runs on the calling thread and returns OK, NOT_FINITE where the
   state it leaves is NaN or infinite, or CHANGED, with nothing done, where the neuron's parameters are no longer those
   that its coefficients were made from, whoever wrote to them and however. */
#pragma once
#include "parallel.h"
#include "vector.h"

enum { CHANGED = -1, NOT_FINITE, OK };

/* `count` stretches of memory now, and as they were. */
typedef struct {
  const void **now, **then;
  const int64_t *bytes;
  int64_t count;
} guard_t;

INLINE int unchanged(const guard_t *g) {
  for (int64_t i = 0; i < g->count; i++)
    if (memcmp(g->now[i], g->then[i], g->bytes[i])) return 0;
  return 1;
}

/* Whether none of the values is NaN or infinite. */
INLINE int all_finite(const float *p, int64_t count) {
  vf sums[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)}; /* a single one would wait for itself */
  int64_t i = 0;
  for (; i + 4 * VL <= count; i += 4 * VL)
    for (int k = 0; k < 4; k++) sums[k] += load(p + i + k * VL, VL) * 0.0f;
  for (; i + VL <= count; i += VL) sums[0] += load(p + i, VL) * 0.0f;
  if (i < count) sums[1] += load(p + i, (int)(count - i)) * 0.0f;
  vf sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  float total = 0.0f;
  for (int k = 0; k < VL; k++) total += sum[k];
  return total == 0.0f;
}

/* after [past, width]: the last rows of before [past, width] followed by x [width]. */
INLINE void shift_history(float *after, const float *before, const float *x, int64_t past, int64_t width) {
  if (past < 1) return;
  memcpy(after, before + width, (past - 1) * width * sizeof(float));
  memcpy(after + (past - 1) * width, x, width * sizeof(float));
}
