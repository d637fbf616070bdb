/* The DSN's decay, made from its gate: alpha = sigmoid(gate)^(1/tau). */
#pragma once
#include "vector.h"

typedef struct {
  vf decay, complement, slope; /* alpha, 1 - alpha, d(log alpha)/d(gate) = sigmoid(-gate) / tau */
} gate_t;

/* How alpha comes from the gate. Where 1/tau = 2^squarings the power is repeated squaring, and 1 - alpha follows from
   1 - s^2 = (1 - s) (1 + s): no cancellation, no logarithm. Any other tau goes through the logarithm. */
typedef struct {
  float inverse_tau;
  int squarings; /* or -1 */
} power_t;

static power_t power_of(float tau) {
  power_t p = {1.0f / tau, -1};
  for (int k = 0; k <= 6; k++)
    if (p.inverse_tau == (float)(1 << k)) p.squarings = k;
  return p;
}

INLINE gate_t open_gate(vf gate, power_t p) {
  vf y = exp_minus(gate), r = reciprocal(1.0f + y); /* r = sigmoid(gate), y r = sigmoid(-gate), both without loss */
  gate_t g = {r, y * r, y * r * p.inverse_tau};
  if (p.squarings >= 0) {
    for (int k = 0; k < p.squarings; k++) {
      g.complement = g.complement * (1.0f + g.decay);
      g.decay = g.decay * g.decay;
    }
    return g;
  }
  vf magnitude = (vf)((vi)gate & 0x7fffffff), power, m;
  vf log_sigmoid = where(gate > 0.0f, splat(0.0f), gate) - log_one_plus(exp_minus(magnitude));
  vf log_decay = log_sigmoid * p.inverse_tau;
  split_exp(at_least(-87.0f, log_decay), &power, &m);
  g.decay = keep_where(log_decay > -87.0f, power + power * m);
  g.complement = -((power - 1.0f) + power * m);
  return g;
}
