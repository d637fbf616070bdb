/* Causal depthwise convolution: y_t = bias + sum_j weight_j * x_{t-j}, inside one episode.
   reach[row, t] says how many lags step t may look back: min(k - 1, steps since the episode's start). */
#pragma once
#include "step.h"
#include "tile.h"

#define MOST_HELD 8 /* lags whose weights stay in registers; a tile is longer */

typedef struct {
  extent_t e;
  fire_t f; /* f, threshold, end: of a single step, which fires */
  int32_t lags, clear; /* clear: no step's reach is less than lags - 1 */
  const float *x, *weight, *bias, *state, *grad_out; /* weight: [lags, width]; state: [batch, lags - 1, width] */
  const int32_t *reach;
  float *out, *grad_x, *grad_state;
  double *grad_weight, *grad_bias; /* [batch, lags, width], [batch, width] */
  const float *threshold;
  float *end;
} sliding_t;

/* clear: every step may look back all the way, and that never leads before step 0. */
INLINE void sliding_forward_at(const sliding_t *c, int64_t row, int64_t tile, int64_t n, const int vectors,
                               const int lanes, const int lags, const int clear) {
  const int64_t width = c->e.width, begin = tile * TILE, at = (row * c->e.time + begin) * width + n;
  const int64_t stop = begin + TILE < c->e.time ? begin + TILE : c->e.time;
  const int stream = c->e.stream && lanes == VL;
  const ahead_t after = tile_after(&c->e, row, begin, n, vectors);
  if (stream) fetch_pages(c->out + (row * c->e.time + begin + TILE) * width, n, vectors);
  vf weight[MOST_HELD * WIDE], bias[WIDE];
  EACH(i) bias[i] = load(c->bias + n + i * VL, lanes);
  for (int lag = 0; clear && lag < lags; lag++)
    EACH(i) weight[lag * vectors + i] = load(c->weight + lag * width + n + i * VL, lanes);
  for (int64_t t = begin; t < stop; t++) {
    const float *now = c->x + at + (t - begin) * width;
    vf y[WIDE];
    EACH(i) {
      fetch_ahead(c->x, after, t - begin, i);
      y[i] = bias[i];
    }
    if (clear) {
      OVER_LAGS(lag, lags)
        EACH(i) y[i] = y[i] + weight[lag * vectors + i] * load(now - lag * width + i * VL, lanes);
    } else {
      for (int lag = 0; lag <= c->reach[row * c->e.time + t]; lag++) {
        const float *x = step_input(&c->e, c->x, c->state, lags, row, t - lag) + n;
        EACH(i) y[i] = y[i] + load(c->weight + lag * width + n + i * VL, lanes) * load(x + i * VL, lanes);
      }
    }
    store_row(c->out + at + (t - begin) * width, y, vectors, lanes, stream);
  }
}

INLINE void sliding_forward_block(const sliding_t *c, int64_t row, int64_t tile, int64_t n, const int vectors,
                                  const int lanes) {
  const int clear = c->clear && tile > 0;
  if (clear && c->lags == 4) sliding_forward_at(c, row, tile, n, vectors, lanes, 4, 1); /* the usual order */
  else if (clear && c->lags <= MOST_HELD) sliding_forward_at(c, row, tile, n, vectors, lanes, c->lags, 1);
  else sliding_forward_at(c, row, tile, n, vectors, lanes, c->lags, 0);
}

/* What input t gave to the steps after it. held: weights and their sums stay in registers, else a lag at a time. */
INLINE void sliding_backward_at(const sliding_t *c, int64_t row, int64_t tile, int64_t n, const int vectors,
                                const int lanes, const int lags, const int held, const int clear) {
  const int64_t width = c->e.width, begin = tile * TILE, time = c->e.time;
  const int64_t first = begin - (tile ? 0 : lags - 1), stop = begin + TILE < time ? begin + TILE : time;
  const int stream = c->e.stream && lanes == VL;
  const int32_t *reach = c->reach + row * time;
  const float *grad_out = c->grad_out + row * time * width + n;
  if (stream) fetch_pages(c->grad_x + (row * time + begin + TILE) * width, n, vectors);
  vf weight[MOST_HELD][NARROW], to_weight[MOST_HELD][NARROW], to_bias[NARROW];
  EACH(i) to_bias[i] = splat(0.0f);
  for (int lag = 0; held && lag < lags; lag++)
    EACH(i) {
      weight[lag][i] = load(c->weight + lag * width + n + i * VL, lanes);
      to_weight[lag][i] = splat(0.0f);
    }
  for (int64_t t = first; t < stop; t++) { /* before step 0 lies the state */
    const float *x = step_input(&c->e, c->x, c->state, lags, row, t) + n;
    vf adjoint[NARROW], input[NARROW];
    EACH(i) {
      fetch(c->x + (row * time + t + TILE) * width + n + i * VL);
      fetch(grad_out + (t + TILE) * width + i * VL);
      adjoint[i] = splat(0.0f);
      input[i] = load(x + i * VL, lanes);
    }
    OVER_LAGS(lag, lags) {
      if (!clear && (t + lag < 0 || t + lag >= time || reach[t + lag] < lag)) continue;
      EACH(i) {
        vf grad = load(grad_out + (t + lag) * width + i * VL, lanes);
        adjoint[i] = madd(held ? weight[lag][i] : load(c->weight + lag * width + n + i * VL, lanes), grad, adjoint[i]);
        if (held) to_weight[lag][i] = madd(input[i], grad, to_weight[lag][i]);
        if (lag == 0) to_bias[i] += grad;
      }
    }
    if (t < 0) {
      EACH(i) store(c->grad_state + (row * (lags - 1) + lags - 1 + t) * width + n + i * VL, adjoint[i], lanes);
    } else {
      store_row(c->grad_x + (row * time + t) * width + n, adjoint, vectors, lanes, stream);
    }
  }
  for (int lag = 0; c->grad_weight && lag < lags; lag++) {
    vf sum[NARROW];
    EACH(i) sum[i] = held ? to_weight[lag][i] : splat(0.0f);
    for (int64_t t = first; !held && t < stop; t++) {
      if (t + lag < 0 || t + lag >= time || reach[t + lag] < lag) continue;
      const float *x = step_input(&c->e, c->x, c->state, lags, row, t) + n;
      EACH(i) sum[i] = madd(load(x + i * VL, lanes), load(grad_out + (t + lag) * width + i * VL, lanes), sum[i]);
    }
    EACH(i) accumulate(c->grad_weight + (row * lags + lag) * width + n + i * VL, sum[i], lanes);
  }
  if (c->grad_bias) EACH(i) accumulate(c->grad_bias + row * width + n + i * VL, to_bias[i], lanes);
}

INLINE void sliding_backward_block(const sliding_t *c, int64_t row, int64_t tile, int64_t n, const int vectors,
                                   const int lanes) {
  const int clear = c->clear && tile > 0 && (tile + 1) * TILE + c->lags <= c->e.time;
  if (clear && c->lags == 4) sliding_backward_at(c, row, tile, n, vectors, lanes, 4, 1, 1);
  else if (c->lags <= MOST_HELD) sliding_backward_at(c, row, tile, n, vectors, lanes, c->lags, 1, clear);
  else sliding_backward_at(c, row, tile, n, vectors, lanes, c->lags, 0, 0);
}

static void sliding_forward_row(const void *call, int64_t row, int64_t first, int64_t last) {
  const sliding_t *c = call;
  for (int64_t tile = 0; tile < tiles_of(&c->e); tile++)
    OVER_CHANNELS(WIDE, sliding_forward_block, c, row, tile, first, last);
}

static void sliding_backward_row(const void *call, int64_t row, int64_t first, int64_t last) {
  const sliding_t *c = call;
  for (int64_t tile = 0; tile < tiles_of(&c->e); tile++)
    OVER_CHANNELS(NARROW, sliding_backward_block, c, row, tile, first, last);
}

EXPORT(sliding_forward)(sliding_t *c) {
  c->e.stream = prepare_output(c->out, c->e.batch * c->e.time * c->e.width * 4, c->e.width);
  parallel(sliding_forward_row, c, &c->e);
}

EXPORT(sliding_backward)(sliding_t *c) {
  c->e.stream = prepare_output(c->grad_x, c->e.batch * c->e.time * c->e.width * 4, c->e.width);
  parallel(sliding_backward_row, c, &c->e);
}

/* One row's membranes, into `out`. */
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
  EACH(i) store(c->out + row * width + n + i * VL, u[i], lanes);
}

INLINE void sliding_fire_block(const sliding_t *c, int64_t row, int64_t tile, int64_t n, const int vectors,
                               const int lanes) {
  float *out = c->out + row * c->e.width + n;
  (void)tile;
  EACH(i) {
    vf s = fire(load(out + i * VL, lanes), load_threshold(c->threshold + n + i * VL, lanes), &c->f);
    store(out + i * VL, s, lanes);
  }
}

EXPORT_INT(sliding_step)(sliding_t *c, const guard_t *guard) {
  if (!unchanged(guard)) return CHANGED;
  const int64_t width = c->e.width, past = c->lags - 1;
  unsigned before = flush_denormals();
  int finite = all_finite(c->state, c->e.batch * past * width);
  for (int64_t row = 0; row < c->e.batch; row++) {
    OVER_CHANNELS(WIDE, sliding_step_block, c, row, 0, 0, width);
    finite = finite && all_finite(c->out + row * width, width);
    if (!c->f.membrane) OVER_CHANNELS(WIDE, sliding_fire_block, c, row, 0, 0, width);
    shift_history(c->end + row * past * width, c->state + row * past * width, c->x + row * width, past, width);
  }
  restore_mode(before);
  return finite;
}
