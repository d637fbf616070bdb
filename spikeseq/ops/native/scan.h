/* Linear scans that hand out their states: time-varying real decay, and constant complex decay on interleaved pairs.
   Their backward passes read the states handed out, so nothing is recomputed.
     varying:  y_t = decay_t * y_{t-1} + x_t          complex:  y_t = decay * y_{t-1} + x_t
   mixed: complex with a real x, which is read, and its gradient written, as the half that it is. */
#pragma once
#include "tile.h"

enum { VARYING, COMPLEX, MIXED };

typedef struct {
  extent_t e; /* of the complex scans: width counts floats, two a channel */
  const float *x, *decay, *state, *states, *grad_out;
  const uint8_t *starts;
  float *out, *end, *grad_x, *grad_decay, *grad_state;
  double *grad_direct, *grad_crossed; /* complex: sums of adjoint * state and adjoint * swapped state, [batch, width] */
} scan_t;

/* (re, im, re, im, ...) -> (im, re, im, re, ...). Blocks begin at even floats, so pairs never part. */
INLINE vf swapped(vf z) {
#if VL == 16
  return (vf)_mm512_permute_ps((__m512)z, 0xB1);
#elif VL == 8
  return (vf)_mm256_permute_ps((__m256)z, 0xB1);
#else
  return (vf){z[1], z[0], z[3], z[2]};
#endif
}

/* decay as (a, a, ...) and (-b, b, ...): decay * z = same * z + other * swapped(z). */
INLINE void complex_decay(const float *decay, int lanes, vf *same, vf *other) {
  vf d = load(decay, lanes);
#if VL == 16
  *same = (vf)_mm512_moveldup_ps((__m512)d);
  *other = (vf)((vi)_mm512_movehdup_ps((__m512)d) ^ (vi)_mm512_set1_epi64(0x80000000));
#elif VL == 8
  *same = (vf)_mm256_moveldup_ps((__m256)d);
  *other = (vf)((vi)_mm256_movehdup_ps((__m256)d) ^ (vi)_mm256_set1_epi64x(0x80000000));
#else
  *same = (vf){d[0], d[0], d[2], d[2]};
  *other = (vf){-d[1], d[1], -d[3], d[3]};
#endif
}

/* lanes / 2 real numbers as pairs (re, 0), and the real numbers of such pairs. */
INLINE vf load_real(const float *p, int lanes) {
#if VL == 16
  if (lanes == VL) return (vf)_mm512_cvtepu32_epi64(_mm256_loadu_si256((const __m256i *)p));
#elif VL == 8
  if (lanes == VL) return (vf)_mm256_cvtepu32_epi64(_mm_loadu_si128((const __m128i *)p));
#endif
  vf z = splat(0.0f);
  for (int i = 0; i < lanes; i += 2) z[i] = p[i / 2];
  return z;
}

INLINE void store_real(float *p, vf z, int lanes, int stream) {
#if VL == 16
  if (lanes == VL) {
    __m256i re = _mm512_cvtepi64_epi32((__m512i)z);
    if (stream) _mm256_stream_si256((__m256i *)p, re);
    else _mm256_storeu_si256((__m256i *)p, re);
    return;
  }
#endif
  (void)stream;
  for (int i = 0; i < lanes; i += 2) p[i / 2] = z[i];
}

INLINE void scan_forward_block(const scan_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes,
                               const int kind) {
  const int is_complex = kind != VARYING, halves = kind == MIXED ? 2 : 1;
  const int64_t width = c->e.width, begin = tile * TILE, at = (row * c->e.time + begin) * width + n;
  const ahead_t after = tile_after(&c->e, row, begin, n, vectors);
  const int steps = (int)(begin + TILE < c->e.time ? TILE : c->e.time - begin);
  const int stream = c->e.stream && lanes == VL;
  const uint8_t *starts = c->starts ? c->starts + row * c->e.time + begin : 0;
  const float *x = c->x + at / halves, *decay = c->decay + (is_complex ? n : at);
  float *out = c->out + at, *carried = c->end + row * width + n;
  if (stream) fetch_pages(c->out + (row * c->e.time + begin + TILE) * width, n, vectors);
  vf y[WIDE], same[WIDE], other[WIDE];
  EACH(i) {
    y[i] = load(carried + i * VL, lanes);
    if (is_complex) complex_decay(decay + i * VL, lanes, &same[i], &other[i]);
  }
  for (int t = 0; t < steps; t++, x += width / halves, out += width) {
    if (starts && starts[t]) EACH(i) y[i] = y[i] * 0.0f;
    EACH(i) {
      fetch(c->x + (after.at + t * after.step + i * after.line) / halves);
      if (is_complex) {
        vf now = kind == MIXED ? load_real(x + i * VL / 2, lanes) : load(x + i * VL, lanes);
        y[i] = (same[i] * y[i] + other[i] * swapped(y[i])) + now;
      } else {
        fetch_ahead(c->decay, after, t, i);
        y[i] = load(decay + t * width + i * VL, lanes) * y[i] + load(x + i * VL, lanes);
      }
    }
    store_row(out, y, vectors, lanes, stream);
  }
  EACH(i) store(carried + i * VL, y[i], lanes);
}

INLINE void scan_backward_block(const scan_t *c, int64_t row, int64_t tile, int64_t n, const int vectors,
                                const int lanes, const int kind) {
  const int is_complex = kind != VARYING;
  const int64_t width = c->e.width, begin = tile * TILE;
  const int64_t stop = begin + TILE < c->e.time ? begin + TILE : c->e.time;
  const ahead_t before = tile_before(&c->e, row, begin, n, vectors);
  const int stream = c->e.stream && lanes == VL;
  const uint8_t *starts = c->starts ? c->starts + row * c->e.time : 0;
  float *carry = c->grad_state + row * width + n;
  if (stream && kind != MIXED) fetch_pages(c->grad_x + (row * c->e.time + begin - TILE) * width, n, vectors);
  if (stream && !is_complex) fetch_pages(c->grad_decay + (row * c->e.time + begin - TILE) * width, n, vectors);
  vf back[WIDE], same[WIDE], other[WIDE], direct[WIDE], crossed[WIDE];
  EACH(i) {
    back[i] = load(carry + i * VL, lanes);
    if (is_complex) complex_decay(c->decay + n + i * VL, lanes, &same[i], &other[i]);
    direct[i] = crossed[i] = splat(0.0f);
  }
  for (int64_t t = stop - 1; t >= begin; t--) {
    const int64_t at = (row * c->e.time + t) * width + n;
    const int fresh = starts && starts[t];
    const float *previous = t ? c->states + at - width : c->state + row * width + n;
    vf adjoint[WIDE], to_decay[WIDE];
    EACH(i) {
      fetch_ahead(c->grad_out, before, stop - 1 - t, i);
      fetch_ahead(c->states - width, before, stop - 1 - t, i);
      adjoint[i] = back[i] + load(c->grad_out + at + i * VL, lanes);
      vf entering = fresh ? splat(0.0f) : load(previous + i * VL, lanes);
      if (is_complex) { /* conj(decay) * adjoint */
        back[i] = madd(same[i], adjoint[i], -(other[i] * swapped(adjoint[i])));
        direct[i] = madd(adjoint[i], entering, direct[i]);
        crossed[i] = madd(adjoint[i], swapped(entering), crossed[i]);
      } else {
        fetch_ahead(c->decay, before, stop - 1 - t, i);
        to_decay[i] = adjoint[i] * entering;
        back[i] = load(c->decay + at + i * VL, lanes) * adjoint[i];
      }
    }
    if (kind == MIXED) {
      EACH(i) store_real(c->grad_x + (at + i * VL) / 2, adjoint[i], lanes, stream);
    } else {
      store_row(c->grad_x + at, adjoint, vectors, lanes, stream);
    }
    if (!is_complex) store_row(c->grad_decay + at, to_decay, vectors, lanes, stream);
    if (fresh) EACH(i) back[i] = back[i] * 0.0f;
  }
  EACH(i) {
    store(carry + i * VL, back[i], lanes);
    if (is_complex && c->grad_direct) {
      accumulate(c->grad_direct + row * width + n + i * VL, direct[i], lanes);
      accumulate(c->grad_crossed + row * width + n + i * VL, crossed[i], lanes);
    }
  }
}

#define SCAN(name, kind)                                                                                               \
  INLINE void name##_forward_block(const scan_t *c, int64_t row, int64_t tile, int64_t n, const int vectors,           \
                                   const int lanes) {                                                                  \
    scan_forward_block(c, row, tile, n, vectors, lanes, kind);                                                         \
  }                                                                                                                    \
  INLINE void name##_backward_block(const scan_t *c, int64_t row, int64_t tile, int64_t n, const int vectors,          \
                                    const int lanes) {                                                                 \
    scan_backward_block(c, row, tile, n, vectors, lanes, kind);                                                        \
  }                                                                                                                    \
  static void name##_forward_row(const void *call, int64_t row, int64_t first, int64_t last) {                         \
    const scan_t *c = call;                                                                                            \
    memcpy(c->end + row * c->e.width + first, c->state + row * c->e.width + first, (last - first) * sizeof(float));    \
    for (int64_t tile = 0; tile < tiles_of(&c->e); tile++)                                                             \
      OVER_CHANNELS(WIDE, name##_forward_block, c, row, tile, first, last);                                            \
  }                                                                                                                    \
  static void name##_backward_row(const void *call, int64_t row, int64_t first, int64_t last) {                        \
    const scan_t *c = call;                                                                                            \
    for (int64_t tile = tiles_of(&c->e) - 1; tile >= 0; tile--)                                                        \
      OVER_CHANNELS(WIDE, name##_backward_block, c, row, tile, first, last);                                           \
  }                                                                                                                    \
  EXPORT(name##_forward)(scan_t *c) {                                                                                  \
    c->e.stream = prepare_output(c->out, c->e.batch * c->e.time * c->e.width * 4, c->e.width);                         \
    parallel(name##_forward_row, c, &c->e);                                                                            \
  }                                                                                                                    \
  EXPORT(name##_backward)(scan_t *c) { /* grad_state comes in as the gradient of the end state */                      \
    int64_t bytes = c->e.batch * c->e.time * c->e.width * 4;                                                           \
    c->e.stream = prepare_output(c->grad_x, kind == MIXED ? bytes / 2 : bytes, c->e.width);                            \
    if (c->grad_decay) c->e.stream &= prepare_output(c->grad_decay, bytes, c->e.width);                                \
    parallel(name##_backward_row, c, &c->e);                                                                           \
  }

SCAN(varying_scan, VARYING)
SCAN(complex_scan, COMPLEX)
SCAN(mixed_scan, MIXED)
