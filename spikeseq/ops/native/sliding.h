/* Causal depthwise convolution: y_t = bias + sum_j weight_j * x_{t-j}, inside one episode.
   reach[row, t] says how many lags step t may look back: min(k - 1, steps since the episode's start). */
#pragma once
#include "step.h"
#include "tile.h"

typedef struct {
  extent_t e;
  fire_t f; /* f, threshold, end: of a single step, which fires */
  int32_t lags;
  const float *x, *weight, *bias, *state, *grad_out; /* weight: [lags, width]; state: [batch, lags - 1, width] */
  const int32_t *reach;
  float *out, *grad_x, *grad_state;
  double *grad_weight, *grad_bias; /* [batch, lags, width], [batch, width] */
  const float *threshold;
  float *end;
} sliding_t;

INLINE void sliding_forward_block(const sliding_t *c, int64_t row, int64_t tile, int64_t n, const int vectors,
                                  const int lanes) {
  const int64_t width = c->e.width, begin = tile * TILE;
  const int64_t stop = begin + TILE < c->e.time ? begin + TILE : c->e.time;
  const int stream = c->e.stream && lanes == VL;
  for (int64_t t = begin; t < stop; t++) {
    int reach = c->reach[row * c->e.time + t];
    vf y[WIDE];
    EACH(i) y[i] = load(c->bias + n + i * VL, lanes);
    for (int lag = 0; lag <= reach; lag++) {
      const float *x = step_input(&c->e, c->x, c->state, c->lags, row, t - lag) + n, *weight = c->weight + lag * width + n;
      EACH(i) y[i] = y[i] + load(weight + i * VL, lanes) * load(x + i * VL, lanes);
    }
    EACH(i) store_out(c->out + (row * c->e.time + t) * width + n + i * VL, y[i], lanes, stream);
  }
}

INLINE void sliding_backward_block(const sliding_t *c, int64_t row, int64_t tile, int64_t n, const int vectors,
                                   const int lanes) {
  const int64_t width = c->e.width, begin = tile * TILE, time = c->e.time;
  const int64_t stop = begin + TILE < time ? begin + TILE : time;
  const int stream = c->e.stream && lanes == VL;
  const int32_t *reach = c->reach + row * time;
  for (int64_t t = begin - (tile ? 0 : c->lags - 1); t < stop; t++) { /* before step 0 lies the state */
    vf adjoint[WIDE];
    EACH(i) adjoint[i] = splat(0.0f);
    for (int lag = t < 0 ? (int)-t : 0; lag < c->lags && t + lag < time; lag++) {
      if (reach[t + lag] < lag) continue;
      const float *grad = c->grad_out + (row * time + t + lag) * width + n, *weight = c->weight + lag * width + n;
      EACH(i) adjoint[i] += load(weight + i * VL, lanes) * load(grad + i * VL, lanes);
    }
    if (t < 0) {
      EACH(i) store(c->grad_state + (row * (c->lags - 1) + c->lags - 1 + t) * width + n + i * VL, adjoint[i], lanes);
    } else {
      EACH(i) store_out(c->grad_x + (row * time + t) * width + n + i * VL, adjoint[i], lanes, stream);
    }
  }
  for (int lag = 0; lag < c->lags && c->grad_weight; lag++) {
    vf sum[WIDE];
    EACH(i) sum[i] = splat(0.0f);
    for (int64_t t = begin; t < stop; t++) {
      if (reach[t] < lag) continue;
      const float *x = step_input(&c->e, c->x, c->state, c->lags, row, t - lag) + n, *grad = c->grad_out + (row * time + t) * width + n;
      EACH(i) sum[i] += load(x + i * VL, lanes) * load(grad + i * VL, lanes);
    }
    EACH(i) accumulate(c->grad_weight + (row * c->lags + lag) * width + n + i * VL, sum[i], lanes);
  }
  if (c->grad_bias) {
    vf sum[WIDE];
    EACH(i) sum[i] = splat(0.0f);
    for (int64_t t = begin; t < stop; t++)
      EACH(i) sum[i] += load(c->grad_out + (row * time + t) * width + n + i * VL, lanes);
    EACH(i) accumulate(c->grad_bias + row * width + n + i * VL, sum[i], lanes);
  }
}

static void sliding_forward_row(const void *call, int64_t row, int64_t first, int64_t last) {
  const sliding_t *c = call;
  for (int64_t tile = 0; tile < tiles_of(&c->e); tile++)
    OVER_CHANNELS(WIDE, sliding_forward_block, c, row, tile, first, last);
}

static void sliding_backward_row(const void *call, int64_t row, int64_t first, int64_t last) {
  const sliding_t *c = call;
  for (int64_t tile = 0; tile < tiles_of(&c->e); tile++)
    OVER_CHANNELS(WIDE, sliding_backward_block, c, row, tile, first, last);
}

EXPORT(sliding_forward)(sliding_t *c) {
  c->e.stream = prepare_output(c->out, c->e.batch * c->e.time * c->e.width * 4, c->e.width);
  parallel(sliding_forward_row, c, c->e.batch, c->e.width, c->e.threads);
}

EXPORT(sliding_backward)(sliding_t *c) {
  c->e.stream = prepare_output(c->grad_x, c->e.batch * c->e.time * c->e.width * 4, c->e.width);
  parallel(sliding_backward_row, c, c->e.batch, c->e.width, c->e.threads);
}

INLINE void sliding_step_block(const sliding_t *c, int64_t row, int64_t tile, int64_t n, const int vectors,
                               const int lanes) {
  const int64_t width = c->e.width;
  (void)tile;
  vf u[WIDE];
  EACH(i) u[i] = load(c->bias + n + i * VL, lanes);
  for (int lag = 0; lag < c->lags; lag++) {
    const float *x = step_input(&c->e, c->x, c->state, c->lags, row, -lag) + n, *weight = c->weight + lag * width + n;
    EACH(i) u[i] = u[i] + load(weight + i * VL, lanes) * load(x + i * VL, lanes);
  }
  EACH(i) {
    vf given = c->f.membrane ? u[i] : fire(u[i], load_threshold(c->threshold + n + i * VL, lanes), &c->f);
    store(c->out + row * width + n + i * VL, given, lanes);
  }
}

EXPORT_INT(sliding_step)(sliding_t *c, const guard_t *guard) {
  if (!unchanged(guard)) return CHANGED;
  const int64_t width = c->e.width, past = c->lags - 1;
  unsigned before = flush_denormals();
  for (int64_t row = 0; row < c->e.batch; row++) {
    OVER_CHANNELS(WIDE, sliding_step_block, c, row, 0, 0, width);
    shift_history(c->end + row * past * width, c->state + row * past * width, c->x + row * width, past, width);
  }
  int finite = all_finite(c->state, c->e.batch * past * width) && all_finite(c->x, c->e.batch * width);
  restore_mode(before);
  return finite;
}
