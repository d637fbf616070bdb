/* How every kernel walks its data: rows of the batch, tiles of TILE steps, blocks of vectors, then single ones.

   Within a tile a block of channels runs all its steps with the state in registers; between tiles the state lies in a
   row of the checkpoint array, which is also what the backward pass starts from: it recomputes a tile's membranes from
   there instead of reading them back from memory. */
#pragma once
#include "fire.h"
#include "parallel.h"

#define TILE 32
#define WIDE 4 /* vectors side by side: four lines of a row, and enough work to hide one another's latency */
#define NARROW (VL == 16 ? 2 : 4) /* the same of a backward pass, which keeps its tile in the first cache */

INLINE int64_t tiles_of(const extent_t *e) { return (e->time + TILE - 1) / TILE; }

/* body(call, row, tile, channel, vectors, lanes) over channels [first, last) of one tile, `wide` vectors at a time. */
#define OVER_CHANNELS(wide, body, call, row, tile, first, last)                          \
  do {                                                                                   \
    int64_t n_ = (first);                                                                \
    for (; n_ + wide * VL <= (last); n_ += wide * VL) body(call, row, tile, n_, wide, VL); \
    for (; n_ + VL <= (last); n_ += VL) body(call, row, tile, n_, 1, VL);                  \
    if (n_ < (last)) body(call, row, tile, n_, 1, (int)((last) - n_));                     \
  } while (0)

#define OVER_LAGS(lag, count) _Pragma("GCC unroll 8") for (int lag = 0; lag < (count); lag++)
#define EACH(i) _Pragma("GCC unroll 4") for (int i = 0; i < vectors; i++)

/* The row of inputs at step t; before step 0 lies the state, oldest first. */
INLINE const float *step_input(const extent_t *e, const float *x, const float *state, int lags, int64_t row, int64_t t) {
  return t >= 0 ? x + (row * e->time + t) * e->width : state + (row * (lags - 1) + lags - 1 + t) * e->width;
}

/* A line of the next tile, asked for early: the backward pass walks from the end, and a pass that computes much leaves
   little time for a late row; hardware foresees neither. */
INLINE void fetch(const float *p) { __builtin_prefetch(p, 0, 2); }

/* A line of each page in block n's share of a tile, which begins at `rows`: of where streamed stores will go, since these
   do not look ahead, and where pages are small, to look one up takes longer than to fill it. */
INLINE void fetch_pages(const float *rows, int64_t n, const int vectors) {
  for (int i = 0; i < TILE * vectors * VL; i += 1024) fetch(rows + n * TILE + i);
}

/* What block n asks for ahead of time: line i of step s of its walk, counted from the walk's beginning, lies at
   at + s * step + i * line. In the order in which memory lies that is the block's share of the whole tile; where rows are
   split over threads (`apart`), only the block's own lines, since the rest would go into another core's cache. */
typedef struct {
  int64_t at, step, line;
} ahead_t;

INLINE ahead_t tile_after(const extent_t *e, int64_t row, int64_t begin, int64_t n, const int vectors) {
  const int64_t rows = (row * e->time + begin + TILE) * e->width;
  return e->apart ? (ahead_t){rows + n, e->width, VL} : (ahead_t){rows + n * TILE, vectors * VL, VL};
}

/* The tile before, its last lines first. */
INLINE ahead_t tile_before(const extent_t *e, int64_t row, int64_t begin, int64_t n, const int vectors) {
  const int64_t rows = (row * e->time + begin) * e->width;
  return e->apart ? (ahead_t){rows - e->width + n, -e->width, VL}
                  : (ahead_t){rows - n * TILE - VL, -(vectors * VL), -VL};
}

INLINE void fetch_ahead(const float *p, ahead_t a, int64_t s, int i) { fetch(p + a.at + s * a.step + i * a.line); }

/* For a pass that walks a tile twice, s counting through both walks: half of either input in each, since at twice the pace
   lines get lost. */
INLINE void fetch_half(const float *x, const float *grad_out, ahead_t a, int s, int i, const int vectors) {
  if (vectors == 1) fetch_ahead(s & 1 ? grad_out : x, a, s / 2, 0);
  else fetch_ahead(i & 1 ? grad_out : x, a, s / 2, s % 2 * (vectors / 2) + i / 2);
}

/* Adds a tile's partial sums to the row's double-precision totals, so that long sequences lose no digits. */
INLINE void accumulate(double *total, vf part, int lanes) {
  if (!total) return;
#if VL == 16
  if (lanes == VL) {
    __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256((__m512)part));
    __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)part, 1));
    _mm512_storeu_pd(total, _mm512_add_pd(_mm512_loadu_pd(total), low));
    _mm512_storeu_pd(total + 8, _mm512_add_pd(_mm512_loadu_pd(total + 8), high));
    return;
  }
#elif VL == 8
  if (lanes == VL) {
    __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128((__m256)part));
    __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps((__m256)part, 1));
    _mm256_storeu_pd(total, _mm256_add_pd(_mm256_loadu_pd(total), low));
    _mm256_storeu_pd(total + 4, _mm256_add_pd(_mm256_loadu_pd(total + 4), high));
    return;
  }
#endif
  for (int i = 0; i < lanes; i++) total[i] += part[i];
}

INLINE void accumulate_pairs(double *total, vf re, vf im, int lanes) {
  if (!total) return;
  vf low, high;
  pairs_of(re, im, &low, &high);
  accumulate(total, low, in_low(lanes));
  accumulate(total + VL, high, in_high(lanes));
}

/* One step's outputs. */
INLINE void store_row(float *p, const vf *v, const int vectors, const int lanes, int stream) {
  if (stream) {
    EACH(i) store_out(p + i * VL, v[i], lanes, 1);
  } else {
    EACH(i) store(p + i * VL, v[i], lanes);
  }
}
