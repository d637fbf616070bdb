/* LIF with a soft, hard or no reset; with no reset and membrane output it is the real linear scan.
     u = decay * v + x;  s = fire(u);  v = u - rho * s | u * (1 - s) | u */
#pragma once
#include "tile.h"

typedef struct {
  extent_t e;
  fire_t f;
  int32_t reset;
  const float *x, *decay, *threshold, *rho, *state, *checkpoints_in, *grad_out, *grad_end;
  const uint8_t *starts;
  float *out, *end, *checkpoints, *grad_x, *grad_state;
  double *grad_decay, *grad_threshold; /* [batch, width]; null where not wanted */
} lif_t;

INLINE vf lif_reset(vf u, vf s, vf rho, int reset) {
  if (reset == RESET_SOFT) return u - rho * s;
  if (reset == RESET_HARD) return u * (1.0f - s);
  return u;
}

INLINE void lif_forward_block(const lif_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes) {
  const int64_t width = c->e.width, begin = tile * TILE;
  const int64_t stop = begin + TILE < c->e.time ? begin + TILE : c->e.time;
  const fire_t f = c->f;
  const int reset = c->reset, stream = c->e.stream && lanes == VL;
  const uint8_t *starts = c->starts ? c->starts + row * c->e.time : 0;
  float *carried = c->end + row * width + n;
  vf v[WIDE], decay[WIDE], rho[WIDE];
  threshold_t threshold[WIDE];
  EACH(i) {
    v[i] = load(carried + i * VL, lanes);
    decay[i] = load(c->decay + n + i * VL, lanes);
    threshold[i] = load_threshold(c->threshold + n + i * VL, lanes);
    rho[i] = load(c->rho + n + i * VL, lanes);
    if (c->checkpoints) store(c->checkpoints + (row * tiles_of(&c->e) + tile) * width + n + i * VL, v[i], lanes);
  }
  for (int64_t t = begin; t < stop; t++) {
    const float *x = c->x + (row * c->e.time + t) * width + n;
    float *out = c->out + (row * c->e.time + t) * width + n;
    if (starts && starts[t]) EACH(i) v[i] = v[i] * 0.0f;
    EACH(i) {
      fetch(x + TILE * width + i * VL);
      vf u = decay[i] * v[i] + load(x + i * VL, lanes);
      vf s = fire(u, threshold[i], &f);
      store_out(out + i * VL, f.membrane ? u : s, lanes, stream);
      v[i] = lif_reset(u, s, rho[i], reset);
    }
  }
  EACH(i) store(carried + i * VL, v[i], lanes);
}

static void lif_forward_row(const void *call, int64_t row, int64_t first, int64_t last) {
  const lif_t *c = call;
  memcpy(c->end + row * c->e.width + first, c->state + row * c->e.width + first, (last - first) * sizeof(float));
  for (int64_t tile = 0; tile < tiles_of(&c->e); tile++)
    OVER_CHANNELS(lif_forward_block, c, row, tile, first, last);
}

INLINE void lif_backward_block(const lif_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes) {
  const int64_t width = c->e.width, begin = tile * TILE;
  const int steps = (int)(begin + TILE < c->e.time ? TILE : c->e.time - begin);
  const fire_t f = c->f;
  const int reset = c->reset, stream = c->e.stream && lanes == VL;
  const uint8_t *starts = c->starts ? c->starts + row * c->e.time + begin : 0;
  const float *x = c->x + (row * c->e.time + begin) * width + n;
  const float *grad_out = c->grad_out + (row * c->e.time + begin) * width + n;
  float *grad_x = c->grad_x + (row * c->e.time + begin) * width + n;
  float *carry = c->grad_state + row * width + n;
  vf entering[TILE][WIDE], membrane[TILE][WIDE];
  vf v[WIDE], decay[WIDE], rho[WIDE], to_decay[WIDE], to_threshold[WIDE];
  threshold_t threshold[WIDE];
  EACH(i) {
    v[i] = load(c->checkpoints_in + (row * tiles_of(&c->e) + tile) * width + n + i * VL, lanes);
    decay[i] = load(c->decay + n + i * VL, lanes);
    threshold[i] = load_threshold(c->threshold + n + i * VL, lanes);
    rho[i] = load(c->rho + n + i * VL, lanes);
    to_decay[i] = to_threshold[i] = splat(0.0f);
  }
  for (int t = 0; t < steps; t++) {
    if (starts && starts[t]) EACH(i) v[i] = v[i] * 0.0f;
    EACH(i) {
      fetch(x + (t - TILE) * width + i * VL);
      fetch(grad_out + (t - TILE) * width + i * VL);
      entering[t][i] = v[i];
      vf u = membrane[t][i] = decay[i] * v[i] + load(x + t * width + i * VL, lanes);
      v[i] = reset == RESET_NONE ? u : lif_reset(u, fire(u, threshold[i], &f), rho[i], reset);
    }
  }
  vf back[WIDE];
  EACH(i) back[i] = load(carry + i * VL, lanes);
  for (int t = steps - 1; t >= 0; t--) {
    EACH(i) {
      vf u = membrane[t][i], h = load(grad_out + t * width + i * VL, lanes);
      if (!f.membrane) {
        h = h * derivative(u, threshold[i], &f);
        if (c->grad_threshold) to_threshold[i] -= h * threshold_slope(u, threshold[i], &f);
      }
      if (reset == RESET_HARD) back[i] = back[i] * (1.0f - fire(u, threshold[i], &f));
      vf adjoint = back[i] + h;
      store_out(grad_x + t * width + i * VL, adjoint, lanes, stream);
      to_decay[i] += adjoint * entering[t][i];
      back[i] = decay[i] * adjoint;
    }
    if (starts && starts[t]) EACH(i) back[i] = back[i] * 0.0f;
  }
  EACH(i) {
    store(carry + i * VL, back[i], lanes);
    if (c->grad_decay) accumulate(c->grad_decay + row * width + n + i * VL, to_decay[i], lanes);
    if (c->grad_threshold) accumulate(c->grad_threshold + row * width + n + i * VL, to_threshold[i], lanes);
  }
}

static void lif_backward_row(const void *call, int64_t row, int64_t first, int64_t last) {
  const lif_t *c = call;
  memcpy(c->grad_state + row * c->e.width + first, c->grad_end + row * c->e.width + first,
         (last - first) * sizeof(float));
  for (int64_t tile = tiles_of(&c->e) - 1; tile >= 0; tile--)
    OVER_CHANNELS(lif_backward_block, c, row, tile, first, last);
}

EXPORT(lif_forward)(lif_t *c) {
  c->e.stream = prepare_output(c->out, c->e.batch * c->e.time * c->e.width * 4, c->e.width);
  parallel(lif_forward_row, c, c->e.batch, c->e.width, c->e.threads);
}

EXPORT(lif_backward)(lif_t *c) {
  c->e.stream = prepare_output(c->grad_x, c->e.batch * c->e.time * c->e.width * 4, c->e.width);
  parallel(lif_backward_row, c, c->e.batch, c->e.width, c->e.threads);
}

/* One step on the calling thread; returns whether the state it leaves is finite. */
EXPORT_INT(lif_step)(lif_t *c) {
  unsigned before = flush_denormals();
  for (int64_t row = 0; row < c->e.batch; row++) lif_forward_row(c, row, 0, c->e.width);
  int finite = all_finite(c->end, c->e.batch * c->e.width);
  restore_mode(before);
  return finite;
}
