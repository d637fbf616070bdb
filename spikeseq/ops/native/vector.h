/* Vectors of VL floats in GCC/clang vector extensions: one source, compiled once for each instruction set. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#define VL 16
#elif defined(__AVX2__)
#include <immintrin.h>
#define VL 8
#else
#define VL 4
#endif

#define JOIN2(a, b) a##_##b
#define JOIN(a, b) JOIN2(a, b)
#define EXPORT(name) __attribute__((visibility("default"))) void JOIN(name, VARIANT)
#define EXPORT_INT(name) __attribute__((visibility("default"))) int JOIN(name, VARIANT)
#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
typedef float vf_anywhere __attribute__((vector_size(VL * 4), aligned(4), may_alias));

INLINE vf splat(float a) { return (vf){0} + a; }
INLINE vf where(vi mask, vf yes, vf no) { return (vf)((mask & (vi)yes) | (~mask & (vi)no)); }
INLINE vf keep_where(vi mask, vf yes) { return (vf)(mask & (vi)yes); }

/* a * b + c rounded once where the processor can: for gradients, never for what must round as the reference does. */
INLINE vf madd(vf a, vf b, vf c) {
#if VL == 16
  return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif VL == 8
  return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

/* `yes` where a OP b, else 0. AVX-512 compares into a mask register, which GCC's vectors would spread out first. */
#if VL == 16
#define KEEP_IF(name, op, code)                                                                                \
  INLINE vf name(vf a, vf b, vf yes) {                                                                         \
    return (vf)_mm512_maskz_mov_ps(_mm512_cmp_ps_mask((__m512)a, (__m512)b, code), (__m512)yes);               \
  }
#else
#define KEEP_IF(name, op, code) \
  INLINE vf name(vf a, vf b, vf yes) { return keep_where(a op b, yes); }
#endif
KEEP_IF(keep_above, >, _CMP_GT_OQ)
KEEP_IF(keep_from, >=, _CMP_GE_OQ)
KEEP_IF(keep_equal, ==, _CMP_EQ_OQ)

INLINE vf if_below(vf v, float bound, vf yes, vf no) {
#if VL == 16
  return (vf)_mm512_mask_blend_ps(_mm512_cmp_ps_mask((__m512)v, _mm512_set1_ps(bound), _CMP_LT_OQ), (__m512)no, (__m512)yes);
#else
  return where(v < bound, yes, no);
#endif
}

/* The lower and the higher of a bound and v; a NaN in v stays. */
INLINE vf at_most(float bound, vf v) {
#if VL == 16
  return (vf)_mm512_min_ps(_mm512_set1_ps(bound), (__m512)v);
#elif VL == 8
  return (vf)_mm256_min_ps(_mm256_set1_ps(bound), (__m256)v);
#else
  return where(v > bound, splat(bound), v);
#endif
}

INLINE vf at_least(float bound, vf v) {
#if VL == 16
  return (vf)_mm512_max_ps(_mm512_set1_ps(bound), (__m512)v);
#elif VL == 8
  return (vf)_mm256_max_ps(_mm256_set1_ps(bound), (__m256)v);
#else
  return where(v < bound, splat(bound), v);
#endif
}

/* Lanes: how many of the VL lanes hold channels. A full vector takes the plain path; the tail of a row is masked. */
INLINE vf load(const float *p, int lanes) {
  if (lanes == VL) return *(const vf_anywhere *)p;
#if VL == 16
  return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << lanes) - 1), p);
#else
  vf v = {0};
  for (int i = 0; i < lanes; i++) v[i] = p[i];
  return v;
#endif
}

INLINE void store(float *p, vf v, int lanes) {
  if (lanes == VL) {
    *(vf_anywhere *)p = v;
    return;
  }
#if VL == 16
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << lanes) - 1), (__m512)v);
#else
  for (int i = 0; i < lanes; i++) p[i] = v[i];
#endif
}

/* Past the caches: an output larger than they are need not be read in before it is written. */
INLINE void store_out(float *p, vf v, int lanes, int stream) {
#if VL == 16
  if (stream) { _mm512_stream_ps(p, (__m512)v); return; }
#elif VL == 8
  if (stream) { _mm256_stream_ps(p, (__m256)v); return; }
#endif
  (void)stream;
  store(p, v, lanes);
}

/* Complex numbers as torch stores them, (re, im, re, im, ...): two vectors of pairs and two planes of one vector each. */
INLINE void planes_of(vf low, vf high, vf *re, vf *im) {
#if VL == 16
  const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  *re = (vf)_mm512_permutex2var_ps((__m512)low, even, (__m512)high);
  *im = (vf)_mm512_permutex2var_ps((__m512)low, _mm512_or_si512(even, _mm512_set1_epi32(1)), (__m512)high);
#else
  for (int i = 0; i < VL; i++) {
    (*re)[i] = 2 * i < VL ? low[2 * i] : high[2 * i - VL];
    (*im)[i] = 2 * i < VL ? low[2 * i + 1] : high[2 * i + 1 - VL];
  }
#endif
}

INLINE void pairs_of(vf re, vf im, vf *low, vf *high) {
#if VL == 16
  const __m512i first = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  *low = (vf)_mm512_permutex2var_ps((__m512)re, first, (__m512)im);
  *high = (vf)_mm512_permutex2var_ps((__m512)re, _mm512_add_epi32(first, _mm512_set1_epi32(8)), (__m512)im);
#else
  for (int i = 0; i < VL; i++) {
    (*low)[i] = i % 2 ? im[i / 2] : re[i / 2];
    (*high)[i] = i % 2 ? im[(i + VL) / 2] : re[(i + VL) / 2];
  }
#endif
}

/* Of `lanes` complex numbers, 2 * lanes floats: how many lie in the first vector of pairs and how many in the second. */
INLINE int in_low(int lanes) { return 2 * lanes < VL ? 2 * lanes : VL; }
INLINE int in_high(int lanes) { return 2 * lanes - in_low(lanes); }

INLINE void load_pairs(const float *p, vf *re, vf *im, int lanes) {
  planes_of(load(p, in_low(lanes)), load(p + VL, in_high(lanes)), re, im);
}

INLINE void store_pairs(float *p, vf re, vf im, int lanes) {
  vf low, high;
  pairs_of(re, im, &low, &high);
  store(p, low, in_low(lanes));
  store(p + VL, high, in_high(lanes));
}

/* 1 / v to within two units in the last place, v in [0, 1e38]: nothing a wide vector does is as slow as a division. */
INLINE vf reciprocal(vf v) {
#if VL == 16
  vf r = (vf)_mm512_rcp14_ps((__m512)v);
  return r * madd(-v, r, splat(2.0f));
#else
  return 1.0f / v;
#endif
}

/* Nearest integer, halves to even, |v| < 2^22. */
INLINE vf nearest(vf v) {
  const float magic = 12582912.0f; /* 1.5 * 2^23 */
  return (v + magic) - magic;
}

/* e^x = 2^n * (1 + m): gives 2^n and m = e^r - 1 for |r| <= ln(2) / 2. x in [-87, 87]. */
INLINE void split_exp(vf x, vf *power, vf *m) {
  vf n = nearest(x * 1.44269504088896341f);
  vf r = madd(n, splat(2.12194440e-4f), madd(n, splat(-0.693359375f), x));
  vf p = splat(1.9875691500e-4f);
  p = madd(p, r, splat(1.3981999507e-3f));
  p = madd(p, r, splat(8.3334519073e-3f));
  p = madd(p, r, splat(4.1665795894e-2f));
  p = madd(p, r, splat(1.6666665459e-1f));
  p = madd(p, r, splat(5.0000001201e-1f));
  *m = madd(r * r, p, r);
  vi bits = (__builtin_convertvector(n, vi) + 127) << 23;
  *power = (vf)bits;
}

/* e^-x, x held to [-87, 87]. */
INLINE vf exp_minus(vf x) {
  x = at_most(87.0f, at_least(-87.0f, x));
#if VL == 16
  __m512 n = _mm512_roundscale_ps((__m512)(x * -1.44269504088896341f), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  vf r = madd((vf)n, splat(0.693147181f), x); /* the constant's own error, 2e-9 n, is below rounding up to |x| = 20 */
  vf square = r * r;                          /* e^-r by its even and odd parts' pairs: minimax, relative error 3e-9 */
  vf p = madd(square, splat(1.381432056e-3f), madd(r, splat(-8.368851171e-3f), splat(4.166840109e-2f)));
  p = madd(p, square, madd(r, splat(-1.666651952e-1f), splat(4.999999337e-1f)));
  p = madd(p, square, 1.0f - r);
  return (vf)_mm512_scalef_ps((__m512)p, n);
#else
  vf power, m;
  split_exp(-x, &power, &m);
  return madd(power, m, power);
#endif
}

/* log(1 + y) for y in [0, 1], exact to rounding at both ends: 2 atanh(y / (2 + y)). */
INLINE vf log_one_plus(vf y) {
  vf s = y / (2.0f + y), q = s * s;
  vf p = splat(0.11619439f); /* minimax over q in [0, 1/9], relative error 4e-10 */
  p = madd(p, q, splat(0.10851679f));
  p = madd(p, q, splat(0.1429629f));
  p = madd(p, q, splat(0.19999851f));
  p = madd(p, q, splat(0.33333334f));
  return 2.0f * madd(s, q * p, s);
}
