/* PRF: complex state in two planar registers, real input, fires on the real part; soft reset or none. In memory complex
   numbers lie as torch stores them, but for the checkpoints, of which only these kernels know.
     z = decay * v + gain * x;  s = fire(Re z);  v = z - rho * s | z */
#pragma once
#include "lif.h"

typedef struct {
  extent_t e;
  fire_t f;
  int32_t reset;
  const float *x, *decay, *gain, *threshold, *rho, *state, *checkpoints_in, *grad_out, *grad_end;
  const uint8_t *starts;
  float *out, *end, *checkpoints, *grad_x, *grad_state;
  double *grad_decay, *grad_gain, *grad_threshold; /* [batch, 2 * width], [batch, width], [batch, width] */
} prf_t;

INLINE void prf_forward_at(const prf_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes,
                           const fire_t f, const int reset) {
  const int64_t width = c->e.width, begin = tile * TILE;
  const int steps = (int)(begin + TILE < c->e.time ? TILE : c->e.time - begin);
  const int stream = c->e.stream && lanes == VL;
  const uint8_t *starts = c->starts ? c->starts + row * c->e.time + begin : 0;
  const float *x = c->x + (row * c->e.time + begin) * width + n;
  const ahead_t after = tile_after(&c->e, row, begin, n, vectors);
  float *out = c->out + (row * c->e.time + begin) * width + n;
  if (stream) fetch_pages(c->out + (row * c->e.time + begin + TILE) * width, n, vectors);
  float *carried = c->end + (row * width + n) * 2;
  vf re[WIDE], im[WIDE], a[WIDE], b[WIDE], gain[WIDE], rho[WIDE];
  threshold_t threshold[WIDE];
  EACH(i) {
    load_pairs(carried + 2 * i * VL, &re[i], &im[i], lanes);
    load_pairs(c->decay + 2 * (n + i * VL), &a[i], &b[i], lanes);
    gain[i] = load(c->gain + n + i * VL, lanes);
    threshold[i] = load_threshold(c->threshold + n + i * VL, lanes);
    rho[i] = load(c->rho + n + i * VL, lanes);
    if (c->checkpoints) {
      float *checkpoint = c->checkpoints + (row * tiles_of(&c->e) + tile) * 2 * width + n + i * VL;
      store_out(checkpoint, re[i], lanes, stream);
      store_out(checkpoint + width, im[i], lanes, stream);
    }
  }
  for (int t = 0; t < steps; t++, x += width, out += width) {
    vf given[WIDE];
    if (starts && starts[t]) EACH(i) { re[i] = re[i] * 0.0f; im[i] = im[i] * 0.0f; }
    EACH(i) {
      fetch_ahead(c->x, after, t, i);
      vf u = (a[i] * re[i] - b[i] * im[i]) + gain[i] * load(x + i * VL, lanes);
      im[i] = b[i] * re[i] + a[i] * im[i];
      vf s = fire(u, threshold[i], &f);
      given[i] = f.membrane ? u : s;
      re[i] = reset_by(u, s, threshold[i], rho[i], &f, reset);
    }
    store_row(out, given, vectors, lanes, stream);
  }
  EACH(i) store_pairs(carried + 2 * i * VL, left_by(re[i], rho[i], reset), im[i], lanes);
}

INLINE void prf_forward_block(const prf_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes) {
  WITH_FLAGS(prf_forward_at, c, row, tile, n, vectors, lanes, c->f.kind == INTEGER ? INTEGER : ATAN);
}

static void prf_forward_row(const void *call, int64_t row, int64_t first, int64_t last) {
  const prf_t *c = call;
  const int64_t at = (row * c->e.width + first) * 2;
  memcpy(c->end + at, c->state + at, (last - first) * 2 * sizeof(float));
  for (int64_t tile = 0; tile < tiles_of(&c->e); tile++)
    OVER_CHANNELS(WIDE, prf_forward_block, c, row, tile, first, last);
}

INLINE void prf_backward_at(const prf_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes,
                            const fire_t f, const int reset) {
  const int64_t width = c->e.width, begin = tile * TILE;
  const int steps = (int)(begin + TILE < c->e.time ? TILE : c->e.time - begin);
  const int stream = c->e.stream && lanes == VL;
  const uint8_t *starts = c->starts ? c->starts + row * c->e.time + begin : 0;
  const float *x = c->x + (row * c->e.time + begin) * width + n;
  const float *grad_out = c->grad_out + (row * c->e.time + begin) * width + n;
  float *grad_x = c->grad_x + (row * c->e.time + begin + steps - 1) * width + n;
  float *carry = c->grad_state + (row * width + n) * 2;
  const ahead_t before = tile_before(&c->e, row, begin, n, vectors);
  if (stream) fetch_pages(c->grad_x + (row * c->e.time + begin - TILE) * width, n, vectors);
  /* of the adjoint, what came straight; the inputs again, since rows a power of two apart push each other out of the cache,
     as would arrays of a tile: a step's lie together */
  struct {
    vf re[NARROW], im[NARROW], direct[NARROW], x[NARROW];
  } kept[TILE];
  vf re[NARROW], im[NARROW], a[NARROW], b[NARROW], gain[NARROW], rho[NARROW], back_re[NARROW], back_im[NARROW];
  threshold_t threshold[NARROW];
  vf to_re[NARROW], to_im[NARROW], to_gain[NARROW], to_threshold[NARROW];
  EACH(i) {
    const float *checkpoint = c->checkpoints_in + (row * tiles_of(&c->e) + tile) * 2 * width + n + i * VL;
    re[i] = load(checkpoint, lanes);
    im[i] = load(checkpoint + width, lanes);
    load_pairs(c->decay + 2 * (n + i * VL), &a[i], &b[i], lanes);
    gain[i] = load(c->gain + n + i * VL, lanes);
    threshold[i] = load_threshold(c->threshold + n + i * VL, lanes);
    rho[i] = load(c->rho + n + i * VL, lanes);
    load_pairs(carry + 2 * i * VL, &back_re[i], &back_im[i], lanes);
    to_re[i] = to_im[i] = to_gain[i] = to_threshold[i] = splat(0.0f);
  }
  for (int t = 0; t < steps; t++, x += width, grad_out += width) {
    if (starts && starts[t]) EACH(i) { re[i] = re[i] * 0.0f; im[i] = im[i] * 0.0f; }
    EACH(i) {
      fetch_half(c->x, c->grad_out, before, t, i, vectors);
      vf h = load(grad_out + i * VL, lanes);
      kept[t].x[i] = load(x + i * VL, lanes);
      vf u = (a[i] * re[i] - b[i] * im[i]) + gain[i] * kept[t].x[i];
      if (!f.membrane) {
        h = h * derivative(u, threshold[i], &f);
        if (c->grad_threshold) to_threshold[i] = madd(h, -threshold_slope(u, threshold[i], &f), to_threshold[i]);
      }
      kept[t].re[i] = re[i];
      kept[t].im[i] = im[i];
      kept[t].direct[i] = h;
      im[i] = b[i] * re[i] + a[i] * im[i];
      re[i] = reset_by(u, fire(u, threshold[i], &f), threshold[i], rho[i], &f, reset);
    }
  }
  for (int t = steps - 1; t >= 0; t--, grad_x -= width) {
    vf to_x[NARROW];
    EACH(i) {
      fetch_half(c->x, c->grad_out, before, TILE + steps - 1 - t, i, vectors);
      vf adjoint_re = back_re[i] + kept[t].direct[i], adjoint_im = back_im[i]; /* gradient of z, as (d/dRe, d/dIm) */
      to_x[i] = gain[i] * adjoint_re;
      to_gain[i] = madd(adjoint_re, kept[t].x[i], to_gain[i]);
      to_re[i] = madd(adjoint_re, kept[t].re[i], madd(adjoint_im, kept[t].im[i], to_re[i]));
      to_im[i] = madd(adjoint_im, kept[t].re[i], madd(-adjoint_re, kept[t].im[i], to_im[i]));
      back_re[i] = madd(a[i], adjoint_re, b[i] * adjoint_im);
      back_im[i] = madd(a[i], adjoint_im, -(b[i] * adjoint_re));
    }
    store_row(grad_x, to_x, vectors, lanes, stream);
    if (starts && starts[t]) EACH(i) { back_re[i] = back_re[i] * 0.0f; back_im[i] = back_im[i] * 0.0f; }
  }
  EACH(i) {
    const int64_t at = row * width + n + i * VL;
    store_pairs(carry + 2 * i * VL, back_re[i], back_im[i], lanes);
    if (c->grad_decay) accumulate_pairs(c->grad_decay + 2 * at, to_re[i], to_im[i], lanes);
    if (c->grad_gain) accumulate(c->grad_gain + at, to_gain[i], lanes);
    if (c->grad_threshold) accumulate(c->grad_threshold + at, to_threshold[i], lanes);
  }
}

INLINE void prf_backward_block(const prf_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes) {
  WITH_FLAGS(prf_backward_at, c, row, tile, n, vectors, lanes, c->f.kind);
}

static void prf_backward_row(const void *call, int64_t row, int64_t first, int64_t last) {
  const prf_t *c = call;
  const int64_t at = (row * c->e.width + first) * 2;
  memcpy(c->grad_state + at, c->grad_end + at, (last - first) * 2 * sizeof(float));
  for (int64_t tile = tiles_of(&c->e) - 1; tile >= 0; tile--)
    OVER_CHANNELS(NARROW, prf_backward_block, c, row, tile, first, last);
}

EXPORT(prf_forward)(prf_t *c) {
  c->e.stream = prepare_output(c->out, c->e.batch * c->e.time * c->e.width * 4, c->e.width);
  c->e.stream &= ((uintptr_t)c->checkpoints & 63) == 0; /* they take the same way */
  parallel(prf_forward_row, c, &c->e);
}

EXPORT(prf_backward)(prf_t *c) {
  c->e.stream = prepare_output(c->grad_x, c->e.batch * c->e.time * c->e.width * 4, c->e.width);
  parallel(prf_backward_row, c, &c->e);
}

EXPORT_INT(prf_step)(prf_t *c, const guard_t *guard) {
  if (!unchanged(guard)) return CHANGED;
  unsigned before = flush_denormals();
  for (int64_t row = 0; row < c->e.batch; row++) prf_forward_row(c, row, 0, c->e.width);
  int finite = all_finite(c->end, c->e.batch * c->e.width * 2);
  restore_mode(before);
  return finite;
}
