/* DSN: the decay is made from the gate inside the pass, so neither it nor its complement ever reaches memory.
     alpha = sigmoid(gate)^(1/tau);  u = alpha * u + (1 - alpha) * x;  s = fire(u)
   The gate is read, or, where a weight is given, made in the same pass by the causal convolution of sliding.h. */
#pragma once
#include "gate.h"
#include "step.h"
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

/* The gates of one step. clear: it may look back `lags` steps, and none of them lies before step 0. */
INLINE void gates_at(const dsn_t *c, int64_t row, int64_t t, int64_t n, const int vectors, const int lanes,
                     const int lags, const int clear, const vf *weight, vf *gate) {
  const int64_t width = c->e.width;
  if (!lags) {
    EACH(i) gate[i] = load(c->gate + (row * c->e.time + t) * width + n + i * VL, lanes);
    return;
  }
  EACH(i) gate[i] = load(c->bias + n + i * VL, lanes);
  const int past = clear || !c->reach ? lags - 1 : c->reach[row * c->e.time + t];
  OVER_LAGS(lag, past + 1) {
    const float *x = clear ? c->x + (row * c->e.time + t - lag) * width + n
                           : step_input(&c->e, c->x, c->history, lags, row, t - lag) + n;
    EACH(i) gate[i] = madd(weight[lag * vectors + i], load(x + i * VL, lanes), gate[i]);
  }
}

/* The gates of steps t and, before `stop`, t + 1: none waits for a membrane, so that twice as many chains of arithmetic
   run side by side as in one step. (A way back has more to keep in registers than that leaves room for.) */
#define STEPS 2
INLINE void open_gates(const dsn_t *c, int64_t row, int64_t t, int64_t stop, int64_t n, const int vectors,
                       const int lanes, const power_t power, const int lags, const int clear, const vf *weight, gate_t *g) {
  vf gate[STEPS * WIDE];
  gates_at(c, row, t, n, vectors, lanes, lags, clear, weight, gate);
  if (t + 1 < stop) {
    gates_at(c, row, t + 1, n, vectors, lanes, lags, clear, weight, gate + vectors);
    _Pragma("GCC unroll 8") for (int i = 0; i < STEPS * vectors; i++) g[i] = open_gate(gate[i], power);
  } else {
    EACH(i) g[i] = open_gate(gate[i], power);
  }
}

INLINE void dsn_forward_at(const dsn_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes,
                           const power_t power, const fire_t f, const int lags, const int clear) {
  const int64_t width = c->e.width, begin = tile * TILE;
  const int64_t stop = begin + TILE < c->e.time ? begin + TILE : c->e.time;
  const int stream = c->e.stream && lanes == VL;
  const uint8_t *starts = c->starts ? c->starts + row * c->e.time : 0;
  const float *x = c->x + (row * c->e.time + begin) * width + n;
  const ahead_t after = tile_after(&c->e, row, begin, n, vectors);
  float *out = c->out + (row * c->e.time + begin) * width + n;
  if (stream) fetch_pages(c->out + (row * c->e.time + begin + TILE) * width, n, vectors);
  float *carried = c->end + row * width + n;
  vf u[WIDE], weight[MAX_LAGS * WIDE];
  threshold_t threshold[WIDE];
  EACH(i) {
    u[i] = load(carried + i * VL, lanes);
    threshold[i] = load_threshold(c->threshold + n + i * VL, lanes);
    OVER_LAGS(lag, lags) weight[lag * vectors + i] = load(c->weight + lag * width + n + i * VL, lanes);
    if (c->checkpoints) store(c->checkpoints + (row * tiles_of(&c->e) + tile) * width + n + i * VL, u[i], lanes);
  }
  for (int64_t t = begin; t < stop; t += STEPS) {
    gate_t g[STEPS * WIDE];
    open_gates(c, row, t, stop, n, vectors, lanes, power, lags, clear, weight, g);
    for (int k = 0; k < STEPS && t + k < stop; k++, x += width, out += width) {
      vf given[WIDE];
      if (starts && starts[t + k]) EACH(i) u[i] = u[i] * 0.0f;
      EACH(i) {
        fetch_ahead(c->x, after, t + k - begin, i);
        if (!lags) fetch_ahead(c->gate, after, t + k - begin, i);
        u[i] = moved(g[k * vectors + i], u[i], load(x + i * VL, lanes));
        given[i] = f.membrane ? u[i] : fire(u[i], threshold[i], &f);
      }
      store_row(out, given, vectors, lanes, stream);
    }
  }
  EACH(i) store(carried + i * VL, u[i], lanes);
}

/* body(call, row, tile, n, vectors, lanes, power, fire, lags, clear): with constants for the paper's neuron (tau = 1/4,
   integer spikes; four lags, or a given gate) and for its tau alone, any other as it comes. */
#define WITH_SETTINGS(body, c, row, tile, n, vectors, lanes, clear)                                                   \
  do {                                                                                                                \
    const power_t power_ = power_of((c)->tau), paper_ = {4.0f, 2};                                                    \
    const fire_t integer_ = {INTEGER, 0, 0, (c)->f.parameter};                                                        \
    const int common_ = power_.squarings == 2 && (c)->f.kind == INTEGER && !(c)->f.membrane && vectors > 1;           \
    if (common_ && (c)->lags == 0) body(c, row, tile, n, vectors, lanes, paper_, integer_, 0, 1);                     \
    else if (common_ && (c)->lags == 4 && clear) body(c, row, tile, n, vectors, lanes, paper_, integer_, 4, 1);       \
    else if (common_ && (c)->lags == 4) body(c, row, tile, n, vectors, lanes, paper_, integer_, 4, 0);                \
    else if (power_.squarings == 2) body(c, row, tile, n, vectors, lanes, paper_, (c)->f, (c)->lags, 0);              \
    else body(c, row, tile, n, vectors, lanes, power_, (c)->f, (c)->lags, 0);                                         \
  } while (0)

INLINE void dsn_forward_block(const dsn_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes) {
  WITH_SETTINGS(dsn_forward_at, c, row, tile, n, vectors, lanes, !c->starts && tile > 0);
}

static void dsn_forward_row(const void *call, int64_t row, int64_t first, int64_t last) {
  const dsn_t *c = call;
  memcpy(c->end + row * c->e.width + first, c->state + row * c->e.width + first, (last - first) * sizeof(float));
  for (int64_t tile = 0; tile < tiles_of(&c->e); tile++)
    OVER_CHANNELS(WIDE, dsn_forward_block, c, row, tile, first, last);
}

/* A step of the tile, for its adjoint: what came straight and where it goes. to_gate is a factor at first. */
typedef struct {
  vf direct[WIDE], decay[WIDE], complement[WIDE], to_gate[WIDE];
} dsn_kept_t;

/* What the convolution hands to the inputs before step 0, and what they to its weights. */
INLINE void dsn_history_back(const dsn_t *c, int64_t row, int64_t n, const int vectors, const int lanes,
                             const dsn_kept_t *kept, vf (*to_weight)[WIDE]) {
  const int64_t width = c->e.width;
  for (int past = 1; past < c->lags; past++) {
    const int64_t at = (row * (c->lags - 1) + c->lags - 1 - past) * width + n;
    vf sum[WIDE];
    EACH(i) sum[i] = splat(0.0f);
    for (int lag = past; lag < c->lags && lag - past < c->e.time; lag++) {
      if (c->reach[row * c->e.time + lag - past] < lag) continue;
      EACH(i) {
        sum[i] = madd(load(c->weight + lag * width + n + i * VL, lanes), kept[lag - past].to_gate[i], sum[i]);
        to_weight[lag][i] = madd(load(c->history + at + i * VL, lanes), kept[lag - past].to_gate[i], to_weight[lag][i]);
      }
    }
    EACH(i) store(c->grad_history + at + i * VL, sum[i], lanes);
  }
}

INLINE void dsn_backward_at(const dsn_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes,
                            const power_t power, const fire_t f, const int lags, const int clear) {
  const int64_t width = c->e.width, begin = tile * TILE, at = (row * c->e.time + begin) * width + n;
  const int steps = (int)(begin + TILE < c->e.time ? TILE : c->e.time - begin);
  const int stream = c->e.stream && lanes == VL;
  const uint8_t *starts = c->starts ? c->starts + row * c->e.time + begin : 0;
  const int32_t *reach = c->reach + row * c->e.time + begin;
  const float *x = c->x + at, *grad_out = c->grad_out + at;
  float *carry = c->grad_state + row * width + n;
  const ahead_t before = tile_before(&c->e, row, begin, n, vectors);
  if (stream) {
    const int64_t earlier = (row * c->e.time + begin - TILE) * width;
    fetch_pages(c->grad_x + earlier, n, vectors);
    if (!lags) fetch_pages(c->grad_gate + earlier, n, vectors);
    fetch_pages(c->x + earlier - TILE * width, n, vectors);
    fetch_pages(c->grad_out + earlier - TILE * width, n, vectors);
  }
  /* of to_gate also the next tile's first steps. WIDE, unlike the other ways back: much arithmetic a vector, so that the
     ends of a tile cost more than the cache */
  dsn_kept_t kept[TILE + MAX_LAGS];
  vf u[WIDE], to_threshold[WIDE], to_bias[WIDE], back[WIDE];
  vf weight[MAX_LAGS * WIDE], to_weight[MAX_LAGS][WIDE];
  threshold_t threshold[WIDE];
  EACH(i) {
    u[i] = load(c->checkpoints_in + (row * tiles_of(&c->e) + tile) * width + n + i * VL, lanes);
    threshold[i] = load_threshold(c->threshold + n + i * VL, lanes);
    back[i] = load(carry + i * VL, lanes);
    to_threshold[i] = to_bias[i] = splat(0.0f);
    OVER_LAGS(lag, lags) {
      weight[lag * vectors + i] = load(c->weight + lag * width + n + i * VL, lanes);
      to_weight[lag][i] = splat(0.0f);
    }
    for (int k = 0; k + 1 < lags; k++)
      kept[steps + k].to_gate[i] = load(c->ahead + (row * (lags - 1) + k) * width + n + i * VL, lanes);
  }
  for (int t = 0; t < steps; t++, x += width, grad_out += width) {
    vf gate[WIDE];
    gate_t opened[WIDE];
    gates_at(c, row, begin + t, n, vectors, lanes, lags, clear, weight, gate);
    EACH(i) opened[i] = open_gate(gate[i], power);
    if (starts && starts[t]) EACH(i) u[i] = u[i] * 0.0f;
    EACH(i) {
      fetch_half(c->x, c->grad_out, before, t, i, vectors);
      if (!lags) fetch_ahead(c->gate, before, t, i);
      gate_t g = even(opened[i]);
      vf input = load(x + i * VL, lanes), h = load(grad_out + i * VL, lanes);
      kept[t].to_gate[i] = (u[i] - input) * (g.decay * g.slope);
      u[i] = moved(g, u[i], input);
      if (!f.membrane) {
        h = h * derivative(u[i], threshold[i], &f);
        if (c->grad_threshold) to_threshold[i] = madd(-h, threshold_slope(u[i], threshold[i], &f), to_threshold[i]);
      }
      kept[t].direct[i] = h;
      kept[t].decay[i] = g.decay;
      kept[t].complement[i] = g.complement;
    }
  }
  for (int t = steps - 1; t >= 0; t--) {
    vf to_x[WIDE];
    x -= width;
    EACH(i) {
      fetch_half(c->x, c->grad_out, before, TILE + steps - 1 - t, i, vectors);
      vf adjoint = back[i] + kept[t].direct[i];
      to_x[i] = adjoint * kept[t].complement[i];
      kept[t].to_gate[i] *= adjoint;
      to_bias[i] += kept[t].to_gate[i];
      back[i] = kept[t].decay[i] * adjoint;
    }
    OVER_LAGS(lag, lags) {
      if (!clear && (begin + t + lag >= c->e.time || reach[t + lag] < lag)) continue;
      EACH(i) {
        to_x[i] = madd(weight[lag * vectors + i], kept[t + lag].to_gate[i], to_x[i]);
        to_weight[lag][i] = madd(load(x + i * VL, lanes), kept[t + lag].to_gate[i], to_weight[lag][i]);
      }
    }
    if (!lags) store_row(c->grad_gate + at + t * width, kept[t].to_gate, vectors, lanes, stream);
    store_row(c->grad_x + at + t * width, to_x, vectors, lanes, stream);
    if (starts && starts[t]) EACH(i) back[i] = back[i] * 0.0f;
  }
  if (lags && begin == 0) dsn_history_back(c, row, n, vectors, lanes, kept, to_weight);
  EACH(i) {
    store(carry + i * VL, back[i], lanes);
    for (int k = 0; k + 1 < lags; k++)
      store(c->ahead + (row * (lags - 1) + k) * width + n + i * VL, kept[k].to_gate[i], lanes);
    for (int lag = 0; lag < lags && c->grad_weight; lag++)
      accumulate(c->grad_weight + (row * lags + lag) * width + n + i * VL, to_weight[lag][i], lanes);
    if (c->grad_bias) accumulate(c->grad_bias + row * width + n + i * VL, to_bias[i], lanes);
    if (c->grad_threshold) accumulate(c->grad_threshold + row * width + n + i * VL, to_threshold[i], lanes);
  }
}

INLINE void dsn_backward_block(const dsn_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes) {
  WITH_SETTINGS(dsn_backward_at, c, row, tile, n, vectors, lanes, !c->starts && tile > 0);
}

static void dsn_backward_row(const void *call, int64_t row, int64_t first, int64_t last) {
  const dsn_t *c = call;
  memcpy(c->grad_state + row * c->e.width + first, c->grad_end + row * c->e.width + first,
         (last - first) * sizeof(float));
  for (int64_t tile = tiles_of(&c->e) - 1; tile >= 0; tile--)
    OVER_CHANNELS(WIDE, dsn_backward_block, c, row, tile, first, last);
}

EXPORT(dsn_forward)(dsn_t *c) {
  c->e.stream = prepare_output(c->out, c->e.batch * c->e.time * c->e.width * 4, c->e.width);
  parallel(dsn_forward_row, c, &c->e);
}

EXPORT(dsn_backward)(dsn_t *c) { /* `ahead` comes in as zeros */
  int64_t bytes = c->e.batch * c->e.time * c->e.width * 4;
  c->e.stream = prepare_output(c->grad_x, bytes, c->e.width);
  if (c->grad_gate) c->e.stream &= prepare_output(c->grad_gate, bytes, c->e.width);
  parallel(dsn_backward_row, c, &c->e);
}

/* The history after the step goes to `grad_history`; there is no `reach`. */
EXPORT_INT(dsn_step)(dsn_t *c, const guard_t *guard) {
  if (!unchanged(guard)) return CHANGED;
  const int64_t width = c->e.width, past = c->lags - 1;
  unsigned before = flush_denormals();
  for (int64_t row = 0; row < c->e.batch; row++) {
    dsn_forward_row(c, row, 0, width);
    shift_history(c->grad_history + row * past * width, c->history + row * past * width, c->x + row * width, past, width);
  }
  int finite = all_finite(c->end, c->e.batch * width); /* an infinite past may close a gate and leave no mark there */
  finite = finite && (past < 1 || all_finite(c->history, c->e.batch * past * width));
  restore_mode(before);
  return finite;
}
