/* Spike functions and their surrogate derivatives; the kinds are numbered as in surrogate.py. */
#pragma once
#include "vector.h"

enum { ATAN, RECT, SIGMOID, TRIANGLE, INTEGER };
enum { RESET_NONE, RESET_SOFT, RESET_HARD };

typedef struct {
  int32_t kind, strict, membrane; /* membrane: hand out u instead of spikes */
  float parameter;
} fire_t;

/* A channel's threshold and its reciprocal, by which integer spikes are scaled. */
typedef struct {
  vf value, inverse;
} threshold_t;

INLINE threshold_t load_threshold(const float *p, int lanes) {
  vf value = load(p, lanes);
  return (threshold_t){value, 1.0f / value};
}

/* `amount` where a binary neuron fires, else 0. */
INLINE vf where_fired(vf u, threshold_t v, const fire_t *f, vf amount) {
  return f->strict ? keep_above(u, v.value, amount) : keep_from(u, v.value, amount);
}

INLINE vf fire(vf u, threshold_t v, const fire_t *f) {
  if (f->kind == INTEGER) return nearest(at_most(f->parameter, at_least(0.0f, u * v.inverse)));
  return where_fired(u, v, f, splat(1.0f));
}

INLINE vf derivative(vf u, threshold_t v, const fire_t *f) {
  float p = f->parameter;
  if (f->kind == INTEGER) {
    vf ratio = u * v.inverse;
    return keep_equal(ratio, at_most(p, at_least(0.0f, ratio)), v.inverse);
  }
  vf z = u - v.value;
  vf magnitude = (vf)((vi)z & 0x7fffffff);
  if (f->kind == ATAN) {
    vf y = z * (1.57079632679f * p);
    return (p * 0.5f) * reciprocal(at_most(1e38f, madd(y, y, splat(1.0f))));
  }
  if (f->kind == RECT) return keep_where(magnitude < p * 0.5f, splat(1.0f / p));
  if (f->kind == SIGMOID) {
    vf e = exp_minus(p * magnitude), q = 1.0f + e; /* sig * (1 - sig) = e / (1 + e)^2, even in z */
    return p * e * reciprocal(q * q);
  }
  vf slope = 1.0f - magnitude / p;
  return keep_where(slope > 0.0f, slope) / p;
}

/* d(spike)/d(threshold) = -derivative * this. */
INLINE vf threshold_slope(vf u, threshold_t v, const fire_t *f) {
  return f->kind == INTEGER ? u * v.inverse : splat(1.0f);
}
