/* Spikes of membranes that keep nothing: s = fire(u), step by step of one long row. */
#pragma once
#include <math.h>
#include "step.h"
#include "tile.h"

typedef struct {
  extent_t e;
  fire_t f;
  const float *x, *threshold, *grad_out; /* threshold: [width] */
  float *out, *end, *grad_x;             /* end [width]: finite only if every membrane of its channel was */
  double *grad_threshold;                /* [width]; null where not wanted */
} spike_t;

INLINE void spike_forward_at(const spike_t *c, int64_t tile, int64_t n, const int vectors, const int lanes,
                             const fire_t f) {
  const int64_t width = c->e.width, begin = tile * TILE;
  const int64_t stop = begin + TILE < c->e.time ? begin + TILE : c->e.time;
  const int stream = c->e.stream && lanes == VL;
  const ahead_t after = tile_after(&c->e, 0, begin, n, vectors);
  if (stream) fetch_pages(c->out + (begin + TILE) * width, n, vectors);
  threshold_t threshold[WIDE];
  vf witness[WIDE];
  EACH(i) {
    threshold[i] = load_threshold(c->threshold + n + i * VL, lanes);
    witness[i] = load(c->end + n + i * VL, lanes);
  }
  for (int64_t t = begin; t < stop; t++) {
    vf s[WIDE];
    EACH(i) {
      fetch_ahead(c->x, after, t - begin, i);
      vf u = load(c->x + t * width + n + i * VL, lanes);
      witness[i] += u * 0.0f;
      s[i] = fire(u, threshold[i], &f);
    }
    store_row(c->out + t * width + n, s, vectors, lanes, stream);
  }
  EACH(i) store(c->end + n + i * VL, witness[i], lanes);
}

INLINE void spike_backward_at(const spike_t *c, int64_t tile, int64_t n, const int vectors, const int lanes,
                              const fire_t f) {
  const int64_t width = c->e.width, begin = tile * TILE;
  const int64_t stop = begin + TILE < c->e.time ? begin + TILE : c->e.time;
  const int stream = c->e.stream && lanes == VL;
  const ahead_t after = tile_after(&c->e, 0, begin, n, vectors);
  if (stream) fetch_pages(c->grad_x + (begin + TILE) * width, n, vectors);
  threshold_t threshold[WIDE];
  vf to_threshold[WIDE];
  EACH(i) {
    threshold[i] = load_threshold(c->threshold + n + i * VL, lanes);
    to_threshold[i] = splat(0.0f);
  }
  for (int64_t t = begin; t < stop; t++) {
    vf h[WIDE];
    EACH(i) {
      fetch_ahead(c->x, after, t - begin, i);
      fetch_ahead(c->grad_out, after, t - begin, i);
      vf u = load(c->x + t * width + n + i * VL, lanes);
      h[i] = load(c->grad_out + t * width + n + i * VL, lanes) * derivative(u, threshold[i], &f);
      to_threshold[i] = madd(h[i], -threshold_slope(u, threshold[i], &f), to_threshold[i]);
    }
    store_row(c->grad_x + t * width + n, h, vectors, lanes, stream);
  }
  if (c->grad_threshold) EACH(i) accumulate(c->grad_threshold + n + i * VL, to_threshold[i], lanes);
}

/* body(..., fire): the commonest spike function as a constant, for the reason given at WITH_FLAGS. */
#define WITH_FIRE(name)                                                                                                  \
  INLINE void name##_block(const spike_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes) { \
    const fire_t common = {ATAN, 0, 0, c->f.parameter};                                                                  \
    (void)row;                                                                                                           \
    if (c->f.kind == ATAN && !c->f.strict) name##_at(c, tile, n, vectors, lanes, common);                                \
    else name##_at(c, tile, n, vectors, lanes, c->f);                                                                    \
  }
WITH_FIRE(spike_forward)
WITH_FIRE(spike_backward)

static void spike_forward_row(const void *call, int64_t row, int64_t first, int64_t last) {
  const spike_t *c = call;
  for (int64_t tile = 0; tile < tiles_of(&c->e); tile++)
    OVER_CHANNELS(WIDE, spike_forward_block, c, row, tile, first, last);
}

static void spike_backward_row(const void *call, int64_t row, int64_t first, int64_t last) {
  const spike_t *c = call;
  for (int64_t tile = 0; tile < tiles_of(&c->e); tile++)
    OVER_CHANNELS(WIDE, spike_backward_block, c, row, tile, first, last);
}

EXPORT(spike_forward)(spike_t *c) { /* `end` comes in as zeros */
  c->e.stream = prepare_output(c->out, c->e.time * c->e.width * 4, c->e.width);
  parallel(spike_forward_row, c, &c->e);
}

EXPORT(spike_backward)(spike_t *c) {
  c->e.stream = prepare_output(c->grad_x, c->e.time * c->e.width * 4, c->e.width);
  parallel(spike_backward_row, c, &c->e);
}

/* `count` membranes with one threshold, at once; NOT_FINITE too where it is NaN, or nothing to divide by. */
EXPORT_INT(spike_few)(const float *u, float *out, int64_t count, float threshold, int kind, int strict, float parameter) {
  const fire_t f = {kind, strict, 0, parameter};
  const threshold_t same = {splat(threshold), 1.0f / splat(threshold)};
  const float size = fabsf(threshold);
  const int usable = kind == INTEGER ? size >= 0x1p-126f && (size <= 0x1p126f || isinf(size)) : size == size;
  int64_t i = 0;
  for (; i + VL <= count; i += VL) store(out + i, fire(load(u + i, VL), same, &f), VL);
  if (i < count) store(out + i, fire(load(u + i, (int)(count - i)), same, &f), (int)(count - i));
  return usable && all_finite(u, count);
}
