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

/* alpha and 1 - alpha are rounded apart, so they do not sum to 1, and a long memory would add up what is missing: where
   alpha > 1/2 it is what 1 - alpha leaves, and the membrane is moved by a step towards x, which cannot pass x. */
INLINE gate_t even(gate_t g) {
  g.decay = if_below(g.complement, 0.5f, 1.0f - g.complement, g.decay);
  return g;
}

/* alpha u + (1 - alpha) x, as u + (1 - alpha) (x - u) for a long memory. */
INLINE vf moved(gate_t g, vf u, vf x) {
#if VL == 16
  const __mmask16 lasting = _mm512_cmp_ps_mask((__m512)g.complement, _mm512_set1_ps(0.5f), _CMP_LT_OQ);
  vf step = (vf)_mm512_mask_sub_ps((__m512)x, lasting, (__m512)x, (__m512)u);
  return madd(g.complement, step, (vf)_mm512_mask_mul_ps((__m512)u, (__mmask16)~lasting, (__m512)g.decay, (__m512)u));
#else
  return if_below(g.complement, 0.5f, madd(g.complement, x - u, u), madd(g.complement, x, g.decay * u));
#endif
}

INLINE gate_t open_gate(vf gate, power_t p) {
  vf y = exp_minus(gate), r = reciprocal(1.0f + y); /* r = sigmoid(gate), y r = sigmoid(-gate), both without loss */
  gate_t g = {.decay = r, .complement = y * r, .slope = y * r * p.inverse_tau};
  if (p.squarings >= 0) {
    for (int k = 0; k < p.squarings; k++) {
      g.complement = madd(g.complement, g.decay, g.complement);
      g.decay = g.decay * g.decay;
    }
    return g;
  }
  vf magnitude = (vf)((vi)gate & 0x7fffffff), power, m;
  vf log_sigmoid = where(gate > 0.0f, splat(0.0f), gate) - log_one_plus(exp_minus(magnitude));
  vf log_decay = log_sigmoid * p.inverse_tau;
  split_exp(at_least(-87.0f, log_decay), &power, &m);
  g.decay = keep_where(log_decay > -87.0f, madd(power, m, power));
  g.complement = -madd(power, m, power - 1.0f);
  return g;
}
