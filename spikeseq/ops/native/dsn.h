/* DSN: the decay is made from the gate inside the pass, so neither it nor its complement ever reaches memory.
     alpha = sigmoid(gate)^(1/tau);  u = alpha * u + (1 - alpha) * x;  s = fire(u)
   The gate is read, or, where a weight is given, made in the same pass by the causal convolution of sliding.h. */
#pragma once
#include "tile.h"

#define MAX_LAGS 8

typedef struct {
  extent_t e;
  fire_t f;
  float tau;
  int32_t lags; /* of the convolution, or 0 where the gate is given */
  const float *x, *gate, *threshold, *state, *checkpoints_in, *grad_out, *grad_end;
  const uint8_t *starts;
  float *out, *end, *checkpoints, *grad_x, *grad_gate, *grad_state;
  double *grad_threshold; /* [batch, width] */
  /* convolution: weight [lags, width], bias [width], history [batch, lags - 1, width], reach as in sliding.h */
  const float *weight, *bias, *history;
  const int32_t *reach;
  float *ahead, *grad_history;      /* ahead [batch, lags - 1, width]: gate gradients of the tile after this one */
  double *grad_weight, *grad_bias;  /* [batch, lags, width], [batch, width] */
} dsn_t;

typedef struct {
  vf decay, complement, slope; /* alpha, 1 - alpha, d(log alpha)/d(gate) = sigmoid(-gate) / tau */
} gate_t;

/* How alpha comes from the gate. Where 1/tau = 2^squarings the power is repeated squaring, and 1 - alpha follows from
   1 - s^2 = c (2 - c) with c = 1 - s: no cancellation, no logarithm. Any other tau goes through the logarithm. */
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
  vf y = exponential(-gate), r = reciprocal(1.0f + y); /* r = sigmoid(gate), y r = sigmoid(-gate), both without loss */
  gate_t g = {r, y * r, y * r * p.inverse_tau};
  if (p.squarings >= 0) {
    for (int k = 0; k < p.squarings; k++) {
      g.complement = g.complement * (2.0f - g.complement);
      g.decay = g.decay * g.decay;
    }
    return g;
  }
  vf magnitude = (vf)((vi)gate & 0x7fffffff), power, m;
  vf log_sigmoid = where(gate > 0.0f, splat(0.0f), gate) - log_one_plus(exponential(-magnitude));
  vf log_decay = log_sigmoid * p.inverse_tau;
  split_exp(at_least(-87.0f, log_decay), &power, &m);
  g.decay = keep_where(log_decay > -87.0f, power + power * m);
  g.complement = -((power - 1.0f) + power * m);
  return g;
}

/* The gates of one step. */
INLINE void gates_at(const dsn_t *c, int64_t row, int64_t t, int64_t n, const int vectors, const int lanes, vf *gate) {
  if (!c->lags) {
    EACH(i) gate[i] = load(c->gate + (row * c->e.time + t) * c->e.width + n + i * VL, lanes);
    return;
  }
  EACH(i) gate[i] = load(c->bias + n + i * VL, lanes);
  for (int lag = 0, reach = c->reach[row * c->e.time + t]; lag <= reach; lag++) {
    const float *x = step_input(&c->e, c->x, c->history, c->lags, row, t - lag) + n;
    EACH(i) gate[i] += load(c->weight + lag * c->e.width + n + i * VL, lanes) * load(x + i * VL, lanes);
  }
}

INLINE void dsn_forward_at(const dsn_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes,
                      const power_t power) {
  const int64_t width = c->e.width, begin = tile * TILE;
  const int64_t stop = begin + TILE < c->e.time ? begin + TILE : c->e.time;
  const fire_t f = c->f;
  const int stream = c->e.stream && lanes == VL;
  const uint8_t *starts = c->starts ? c->starts + row * c->e.time : 0;
  float *carried = c->end + row * width + n;
  vf u[WIDE];
  threshold_t threshold[WIDE];
  EACH(i) {
    u[i] = load(carried + i * VL, lanes);
    threshold[i] = load_threshold(c->threshold + n + i * VL, lanes);
    if (c->checkpoints) store(c->checkpoints + (row * tiles_of(&c->e) + tile) * width + n + i * VL, u[i], lanes);
  }
  for (int64_t t = begin; t < stop; t++) {
    int64_t at = (row * c->e.time + t) * width + n;
    vf gate[WIDE];
    gates_at(c, row, t, n, vectors, lanes, gate);
    if (starts && starts[t]) EACH(i) u[i] = u[i] * 0.0f;
    EACH(i) {
      fetch(c->x + at + TILE * width + i * VL);
      if (!c->lags) fetch(c->gate + at + TILE * width + i * VL);
      gate_t g = open_gate(gate[i], power);
      u[i] = g.decay * u[i] + g.complement * load(c->x + at + i * VL, lanes);
      store_out(c->out + at + i * VL, f.membrane ? u[i] : fire(u[i], threshold[i], &f), lanes, stream);
    }
  }
  EACH(i) store(carried + i * VL, u[i], lanes);
}

/* The paper's tau = 1/4 as a constant to the compiler, any other as it comes. */
INLINE void dsn_forward_block(const dsn_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes) {
  const power_t power = power_of(c->tau);
  if (power.squarings == 2)
    dsn_forward_at(c, row, tile, n, vectors, lanes, (power_t){4.0f, 2});
  else
    dsn_forward_at(c, row, tile, n, vectors, lanes, power);
}

static void dsn_forward_row(const void *call, int64_t row, int64_t first, int64_t last) {
  const dsn_t *c = call;
  memcpy(c->end + row * c->e.width + first, c->state + row * c->e.width + first, (last - first) * sizeof(float));
  for (int64_t tile = 0; tile < tiles_of(&c->e); tile++)
    OVER_CHANNELS(dsn_forward_block, c, row, tile, first, last);
}

/* What the convolution hands back for one tile, from the gate gradients of its steps and of the lags - 1 after it. */
INLINE void dsn_convolution_back(const dsn_t *c, int64_t row, int64_t begin, int steps, int64_t n, const int vectors,
                                 const int lanes, vf (*to_gate)[WIDE]) {
  const int64_t width = c->e.width, time = c->e.time;
  const int32_t *reach = c->reach + row * time;
  for (int lag = 0; lag < c->lags && c->grad_weight; lag++) {
    vf sum[WIDE];
    EACH(i) sum[i] = splat(0.0f);
    for (int t = 0; t < steps; t++) {
      if (reach[begin + t] < lag) continue;
      const float *x = step_input(&c->e, c->x, c->history, c->lags, row, begin + t - lag) + n;
      EACH(i) sum[i] += to_gate[t][i] * load(x + i * VL, lanes);
    }
    EACH(i) accumulate(c->grad_weight + (row * c->lags + lag) * width + n + i * VL, sum[i], lanes);
  }
  if (c->grad_bias) {
    vf sum[WIDE];
    EACH(i) sum[i] = splat(0.0f);
    for (int t = 0; t < steps; t++) EACH(i) sum[i] += to_gate[t][i];
    EACH(i) accumulate(c->grad_bias + row * width + n + i * VL, sum[i], lanes);
  }
  for (int past = 1; begin == 0 && past < c->lags; past++) { /* inputs before step 0 */
    vf sum[WIDE];
    EACH(i) sum[i] = splat(0.0f);
    for (int lag = past; lag < c->lags && lag - past < time; lag++)
      if (reach[lag - past] >= lag)
        EACH(i) sum[i] += load(c->weight + lag * width + n + i * VL, lanes) * to_gate[lag - past][i];
    EACH(i) store(c->grad_history + (row * (c->lags - 1) + c->lags - 1 - past) * width + n + i * VL, sum[i], lanes);
  }
}

INLINE void dsn_backward_at(const dsn_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes,
                      const power_t power) {
  const int64_t width = c->e.width, begin = tile * TILE, at = (row * c->e.time + begin) * width + n;
  const int steps = (int)(begin + TILE < c->e.time ? TILE : c->e.time - begin);
  const fire_t f = c->f;
  const int stream = c->e.stream && lanes == VL, lags = c->lags;
  const uint8_t *starts = c->starts ? c->starts + row * c->e.time + begin : 0;
  float *carry = c->grad_state + row * width + n;
  gate_t gates[TILE][WIDE];
  vf entering[TILE][WIDE], membrane[TILE][WIDE], to_gate[TILE + MAX_LAGS][WIDE];
  vf u[WIDE], to_threshold[WIDE], back[WIDE];
  threshold_t threshold[WIDE];
  EACH(i) {
    u[i] = load(c->checkpoints_in + (row * tiles_of(&c->e) + tile) * width + n + i * VL, lanes);
    threshold[i] = load_threshold(c->threshold + n + i * VL, lanes);
    back[i] = load(carry + i * VL, lanes);
    to_threshold[i] = splat(0.0f);
    for (int k = 0; k + 1 < lags; k++)
      to_gate[steps + k][i] = load(c->ahead + (row * (lags - 1) + k) * width + n + i * VL, lanes);
  }
  for (int t = 0; t < steps; t++) {
    vf gate[WIDE];
    gates_at(c, row, begin + t, n, vectors, lanes, gate);
    if (starts && starts[t]) EACH(i) u[i] = u[i] * 0.0f;
    EACH(i) {
      int64_t before = at + (t - TILE) * width + i * VL;
      fetch(c->x + before);
      fetch(c->grad_out + before);
      if (!lags) fetch(c->gate + before);
      gate_t g = gates[t][i] = open_gate(gate[i], power);
      entering[t][i] = u[i];
      u[i] = membrane[t][i] = g.decay * u[i] + g.complement * load(c->x + at + t * width + i * VL, lanes);
    }
  }
  for (int t = steps - 1; t >= 0; t--) {
    vf to_x[WIDE];
    EACH(i) {
      int64_t here = at + t * width + i * VL;
      gate_t g = gates[t][i];
      vf h = load(c->grad_out + here, lanes);
      if (!f.membrane) {
        h = h * derivative(membrane[t][i], threshold[i], &f);
        if (c->grad_threshold) to_threshold[i] -= h * threshold_slope(membrane[t][i], threshold[i], &f);
      }
      vf adjoint = back[i] + h;
      to_x[i] = adjoint * g.complement;
      to_gate[t][i] = adjoint * (entering[t][i] - load(c->x + here, lanes)) * g.decay * g.slope;
      if (!lags) store_out(c->grad_gate + here, to_gate[t][i], lanes, stream);
      back[i] = g.decay * adjoint;
    }
    for (int lag = 0; lag < lags && begin + t + lag < c->e.time; lag++)
      if (c->reach[row * c->e.time + begin + t + lag] >= lag)
        EACH(i) to_x[i] += load(c->weight + lag * width + n + i * VL, lanes) * to_gate[t + lag][i];
    EACH(i) store_out(c->grad_x + at + t * width + i * VL, to_x[i], lanes, stream);
    if (starts && starts[t]) EACH(i) back[i] = back[i] * 0.0f;
  }
  if (lags) dsn_convolution_back(c, row, begin, steps, n, vectors, lanes, to_gate);
  EACH(i) {
    store(carry + i * VL, back[i], lanes);
    for (int k = 0; k + 1 < lags; k++)
      store(c->ahead + (row * (lags - 1) + k) * width + n + i * VL, to_gate[k][i], lanes);
    if (c->grad_threshold) accumulate(c->grad_threshold + row * width + n + i * VL, to_threshold[i], lanes);
  }
}

/* The paper's tau = 1/4 as a constant to the compiler, any other as it comes. */
INLINE void dsn_backward_block(const dsn_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes) {
  const power_t power = power_of(c->tau);
  if (power.squarings == 2)
    dsn_backward_at(c, row, tile, n, vectors, lanes, (power_t){4.0f, 2});
  else
    dsn_backward_at(c, row, tile, n, vectors, lanes, power);
}

static void dsn_backward_row(const void *call, int64_t row, int64_t first, int64_t last) {
  const dsn_t *c = call;
  memcpy(c->grad_state + row * c->e.width + first, c->grad_end + row * c->e.width + first,
         (last - first) * sizeof(float));
  for (int64_t tile = tiles_of(&c->e) - 1; tile >= 0; tile--)
    OVER_CHANNELS(dsn_backward_block, c, row, tile, first, last);
}

EXPORT(dsn_forward)(dsn_t *c) {
  c->e.stream = prepare_output(c->out, c->e.batch * c->e.time * c->e.width * 4, c->e.width);
  parallel(dsn_forward_row, c, c->e.batch, c->e.width, c->e.threads);
}

EXPORT(dsn_backward)(dsn_t *c) { /* `ahead` comes in as zeros */
  int64_t bytes = c->e.batch * c->e.time * c->e.width * 4;
  c->e.stream = prepare_output(c->grad_x, bytes, c->e.width);
  if (c->grad_gate) c->e.stream &= prepare_output(c->grad_gate, bytes, c->e.width);
  parallel(dsn_backward_row, c, c->e.batch, c->e.width, c->e.threads);
}

/* One step, as lif_step; the history after it goes to `grad_history`. */
EXPORT_INT(dsn_step)(dsn_t *c) {
  const int64_t width = c->e.width, past = c->lags - 1;
  unsigned before = flush_denormals();
  for (int64_t row = 0; row < c->e.batch; row++) {
    dsn_forward_row(c, row, 0, width);
    if (past < 1) continue;
    float *history = c->grad_history + row * past * width;
    memcpy(history, c->history + (row * past + 1) * width, (past - 1) * width * sizeof(float));
    memcpy(history + (past - 1) * width, c->x + row * width, width * sizeof(float));
  }
  int finite = all_finite(c->end, c->e.batch * width);
  restore_mode(before);
  return finite;
}
