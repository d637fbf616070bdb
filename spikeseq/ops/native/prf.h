/* PRF: complex state in two planar registers, real input, fires on the real part; soft reset or none.
     z = decay * v + gain * x;  s = fire(Re z);  v = z - rho * s | z */
#pragma once
#include "lif.h"

typedef struct {
  extent_t e;
  fire_t f;
  int32_t reset;
  const float *x, *decay_re, *decay_im, *gain, *threshold, *rho, *state, *checkpoints_in, *grad_out, *grad_end;
  const uint8_t *starts;
  float *out, *end, *checkpoints, *grad_x, *grad_state;  /* complex rows are planar: [batch, 2, width] */
  double *grad_decay, *grad_gain, *grad_threshold;       /* [batch, 2, width], [batch, width], [batch, width] */
} prf_t;

INLINE void prf_forward_block(const prf_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes) {
  const int64_t width = c->e.width, begin = tile * TILE;
  const int64_t stop = begin + TILE < c->e.time ? begin + TILE : c->e.time;
  const fire_t f = c->f;
  const int reset = c->reset, stream = c->e.stream && lanes == VL;
  const uint8_t *starts = c->starts ? c->starts + row * c->e.time : 0;
  float *carried = c->end + row * 2 * width + n;
  vf re[WIDE], im[WIDE], a[WIDE], b[WIDE], gain[WIDE], rho[WIDE];
  threshold_t threshold[WIDE];
  EACH(i) {
    re[i] = load(carried + i * VL, lanes);
    im[i] = load(carried + width + i * VL, lanes);
    a[i] = load(c->decay_re + n + i * VL, lanes);
    b[i] = load(c->decay_im + n + i * VL, lanes);
    gain[i] = load(c->gain + n + i * VL, lanes);
    threshold[i] = load_threshold(c->threshold + n + i * VL, lanes);
    rho[i] = load(c->rho + n + i * VL, lanes);
    if (c->checkpoints) {
      float *checkpoint = c->checkpoints + (row * tiles_of(&c->e) + tile) * 2 * width + n + i * VL;
      store(checkpoint, re[i], lanes);
      store(checkpoint + width, im[i], lanes);
    }
  }
  for (int64_t t = begin; t < stop; t++) {
    const float *x = c->x + (row * c->e.time + t) * width + n;
    float *out = c->out + (row * c->e.time + t) * width + n;
    if (starts && starts[t]) EACH(i) { re[i] = re[i] * 0.0f; im[i] = im[i] * 0.0f; }
    EACH(i) {
      fetch(x + TILE * width + i * VL);
      vf u = (a[i] * re[i] - b[i] * im[i]) + gain[i] * load(x + i * VL, lanes);
      im[i] = b[i] * re[i] + a[i] * im[i];
      vf s = fire(u, threshold[i], &f);
      store_out(out + i * VL, f.membrane ? u : s, lanes, stream);
      re[i] = lif_reset(u, s, rho[i], reset);
    }
  }
  EACH(i) {
    store(carried + i * VL, re[i], lanes);
    store(carried + width + i * VL, im[i], lanes);
  }
}

static void prf_forward_row(const void *call, int64_t row, int64_t first, int64_t last) {
  const prf_t *c = call;
  for (int part = 0; part < 2; part++) {
    int64_t at = (row * 2 + part) * c->e.width + first;
    memcpy(c->end + at, c->state + at, (last - first) * sizeof(float));
  }
  for (int64_t tile = 0; tile < tiles_of(&c->e); tile++)
    OVER_CHANNELS(prf_forward_block, c, row, tile, first, last);
}

INLINE void prf_backward_block(const prf_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes) {
  const int64_t width = c->e.width, begin = tile * TILE;
  const int steps = (int)(begin + TILE < c->e.time ? TILE : c->e.time - begin);
  const fire_t f = c->f;
  const int reset = c->reset, stream = c->e.stream && lanes == VL;
  const uint8_t *starts = c->starts ? c->starts + row * c->e.time + begin : 0;
  const float *x = c->x + (row * c->e.time + begin) * width + n;
  const float *grad_out = c->grad_out + (row * c->e.time + begin) * width + n;
  float *grad_x = c->grad_x + (row * c->e.time + begin) * width + n;
  float *carry = c->grad_state + row * 2 * width + n;
  vf entering_re[TILE][WIDE], entering_im[TILE][WIDE], membrane[TILE][WIDE];
  vf re[WIDE], im[WIDE], a[WIDE], b[WIDE], gain[WIDE], rho[WIDE];
  threshold_t threshold[WIDE];
  vf to_re[WIDE], to_im[WIDE], to_gain[WIDE], to_threshold[WIDE];
  EACH(i) {
    const float *checkpoint = c->checkpoints_in + (row * tiles_of(&c->e) + tile) * 2 * width + n + i * VL;
    re[i] = load(checkpoint, lanes);
    im[i] = load(checkpoint + width, lanes);
    a[i] = load(c->decay_re + n + i * VL, lanes);
    b[i] = load(c->decay_im + n + i * VL, lanes);
    gain[i] = load(c->gain + n + i * VL, lanes);
    threshold[i] = load_threshold(c->threshold + n + i * VL, lanes);
    rho[i] = load(c->rho + n + i * VL, lanes);
    to_re[i] = to_im[i] = to_gain[i] = to_threshold[i] = splat(0.0f);
  }
  for (int t = 0; t < steps; t++) {
    if (starts && starts[t]) EACH(i) { re[i] = re[i] * 0.0f; im[i] = im[i] * 0.0f; }
    EACH(i) {
      fetch(x + (t - TILE) * width + i * VL);
      fetch(grad_out + (t - TILE) * width + i * VL);
      entering_re[t][i] = re[i];
      entering_im[t][i] = im[i];
      vf u = (a[i] * re[i] - b[i] * im[i]) + gain[i] * load(x + t * width + i * VL, lanes);
      im[i] = b[i] * re[i] + a[i] * im[i];
      membrane[t][i] = u;
      re[i] = reset == RESET_NONE ? u : lif_reset(u, fire(u, threshold[i], &f), rho[i], reset);
    }
  }
  vf back_re[WIDE], back_im[WIDE];
  EACH(i) {
    back_re[i] = load(carry + i * VL, lanes);
    back_im[i] = load(carry + width + i * VL, lanes);
  }
  for (int t = steps - 1; t >= 0; t--) {
    EACH(i) {
      vf u = membrane[t][i], h = load(grad_out + t * width + i * VL, lanes);
      if (!f.membrane) {
        h = h * derivative(u, threshold[i], &f);
        if (c->grad_threshold) to_threshold[i] -= h * threshold_slope(u, threshold[i], &f);
      }
      vf adjoint_re = back_re[i] + h, adjoint_im = back_im[i]; /* gradient of z, as (d/dRe, d/dIm) */
      store_out(grad_x + t * width + i * VL, gain[i] * adjoint_re, lanes, stream);
      to_gain[i] += adjoint_re * load(x + t * width + i * VL, lanes);
      to_re[i] += adjoint_re * entering_re[t][i] + adjoint_im * entering_im[t][i];
      to_im[i] += adjoint_im * entering_re[t][i] - adjoint_re * entering_im[t][i];
      back_re[i] = a[i] * adjoint_re + b[i] * adjoint_im;
      back_im[i] = a[i] * adjoint_im - b[i] * adjoint_re;
    }
    if (starts && starts[t]) EACH(i) { back_re[i] = back_re[i] * 0.0f; back_im[i] = back_im[i] * 0.0f; }
  }
  EACH(i) {
    int64_t at = row * width + n + i * VL, complex_at = row * 2 * width + n + i * VL;
    store(carry + i * VL, back_re[i], lanes);
    store(carry + width + i * VL, back_im[i], lanes);
    if (c->grad_decay) {
      accumulate(c->grad_decay + complex_at, to_re[i], lanes);
      accumulate(c->grad_decay + complex_at + width, to_im[i], lanes);
    }
    if (c->grad_gain) accumulate(c->grad_gain + at, to_gain[i], lanes);
    if (c->grad_threshold) accumulate(c->grad_threshold + at, to_threshold[i], lanes);
  }
}

static void prf_backward_row(const void *call, int64_t row, int64_t first, int64_t last) {
  const prf_t *c = call;
  for (int part = 0; part < 2; part++) {
    int64_t at = (row * 2 + part) * c->e.width + first;
    memcpy(c->grad_state + at, c->grad_end + at, (last - first) * sizeof(float));
  }
  for (int64_t tile = tiles_of(&c->e) - 1; tile >= 0; tile--)
    OVER_CHANNELS(prf_backward_block, c, row, tile, first, last);
}

EXPORT(prf_forward)(prf_t *c) {
  c->e.stream = prepare_output(c->out, c->e.batch * c->e.time * c->e.width * 4, c->e.width);
  parallel(prf_forward_row, c, c->e.batch, c->e.width, c->e.threads);
}

EXPORT(prf_backward)(prf_t *c) {
  c->e.stream = prepare_output(c->grad_x, c->e.batch * c->e.time * c->e.width * 4, c->e.width);
  parallel(prf_backward_row, c, c->e.batch, c->e.width, c->e.threads);
}

/* One step, as lif_step; here state and end are complex pairs, as torch stores them, and `checkpoints` holds two rows
   of scratch. */
EXPORT_INT(prf_step)(prf_t *c) {
  const int64_t width = c->e.width;
  prf_t one = *c;
  one.end = c->checkpoints;
  one.checkpoints = 0;
  unsigned before = flush_denormals();
  for (int64_t row = 0; row < c->e.batch; row++) {
    const float *state = c->state + row * width * 2;
    float *end = c->end + row * width * 2;
    for (int64_t n = 0; n < width; n++) {
      one.end[n] = state[2 * n];
      one.end[width + n] = state[2 * n + 1];
    }
    one.x = c->x + row * width;
    one.out = c->out + row * width;
    OVER_CHANNELS(prf_forward_block, &one, 0, 0, 0, width);
    for (int64_t n = 0; n < width; n++) {
      end[2 * n] = one.end[n];
      end[2 * n + 1] = one.end[width + n];
    }
  }
  int finite = all_finite(c->end, c->e.batch * width * 2);
  restore_mode(before);
  return finite;
}
