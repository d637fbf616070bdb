/* LIF with a soft, hard or no reset; with no reset and membrane output it is the real linear scan.
     u = decay * v + x;  s = fire(u);  v = u - rho * s | u * (1 - s) | u */
#pragma once
#include "step.h"
#include "tile.h"

typedef struct {
  extent_t e;
  fire_t f;
  int32_t reset;
  const float *x, *decay, *threshold, *rho, *state, *checkpoints_in, *grad_out, *grad_end;
  const uint8_t *starts;
  float *out, *end, *checkpoints, *grad_x, *grad_state;
  double *grad_decay, *grad_threshold; /* [batch, width]; null where not wanted */
} lif_t;

/* body(call, row, tile, n, vectors, lanes, fire, reset), of LIF or PRF. What is called most is compiled with its flags as
   constants: a branch for each vector costs more than the arithmetic. kind: as the body tells kinds apart. */
#define WITH_FLAGS(body, c, row, tile, n, vectors, lanes, kind_)                                         \
  do {                                                                                                   \
    const fire_t f_ = {kind_, (c)->f.strict, (c)->f.membrane, (c)->f.parameter};                         \
    IF_FLAGS(body, c, row, tile, n, vectors, lanes, ATAN, 1, RESET_NONE)                                 \
    IF_FLAGS(body, c, row, tile, n, vectors, lanes, ATAN, 0, RESET_NONE)                                 \
    IF_FLAGS(body, c, row, tile, n, vectors, lanes, ATAN, 0, RESET_SOFT)                                 \
    IF_FLAGS(body, c, row, tile, n, vectors, lanes, INTEGER, 0, RESET_NONE)                              \
    IF_FLAGS(body, c, row, tile, n, vectors, lanes, INTEGER, 0, RESET_SOFT)                              \
    body(c, row, tile, n, vectors, lanes, f_, (c)->reset);                                               \
  } while (0)
#define IF_FLAGS(body, c, row, tile, n, vectors, lanes, spike, membrane_, reset_)                        \
  if (vectors > 1 && !f_.strict && f_.membrane == membrane_ && (membrane_ || f_.kind == spike) &&        \
      (c)->reset == reset_) {                                                                            \
    const fire_t known = {spike, 0, membrane_, f_.parameter};                                            \
    body(c, row, tile, n, vectors, lanes, known, reset_);                                                \
    break;                                                                                               \
  }

/* The membrane after the spike s. A binary soft reset need not wait for s: 1 * rho is rho, 0 * rho is 0. */
INLINE vf reset_by(vf u, vf s, threshold_t threshold, vf rho, const fire_t *f, int reset) {
  if (reset == RESET_SOFT) return u - (f->kind == INTEGER ? rho * s : where_fired(u, threshold, f, rho));
  if (reset == RESET_HARD) return u * (1.0f - s);
  return u;
}

/* What a tile leaves: a rho that is no number must show in the state also where nothing fired. */
INLINE vf left_by(vf v, vf rho, int reset) { return reset == RESET_SOFT ? v - 0.0f * rho : v; }

INLINE void lif_forward_at(const lif_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes,
                           const fire_t f, const int reset) {
  const int64_t width = c->e.width, begin = tile * TILE;
  const int steps = (int)(begin + TILE < c->e.time ? TILE : c->e.time - begin);
  const int stream = c->e.stream && lanes == VL;
  const uint8_t *starts = c->starts ? c->starts + row * c->e.time + begin : 0;
  const float *x = c->x + (row * c->e.time + begin) * width + n;
  const ahead_t after = tile_after(&c->e, row, begin, n, vectors);
  float *out = c->out + (row * c->e.time + begin) * width + n;
  if (stream) fetch_pages(c->out + (row * c->e.time + begin + TILE) * width, n, vectors);
  float *carried = c->end + row * width + n;
  vf v[WIDE], decay[WIDE], rho[WIDE];
  threshold_t threshold[WIDE];
  EACH(i) {
    v[i] = load(carried + i * VL, lanes);
    decay[i] = load(c->decay + n + i * VL, lanes);
    threshold[i] = load_threshold(c->threshold + n + i * VL, lanes);
    rho[i] = load(c->rho + n + i * VL, lanes);
    if (c->checkpoints) store(c->checkpoints + (row * tiles_of(&c->e) + tile) * width + n + i * VL, v[i], lanes);
  }
  for (int t = 0; t < steps; t++, x += width, out += width) {
    vf given[WIDE];
    if (starts && starts[t]) EACH(i) v[i] = v[i] * 0.0f;
    EACH(i) {
      fetch_ahead(c->x, after, t, i);
      vf u = decay[i] * v[i] + load(x + i * VL, lanes);
      vf s = fire(u, threshold[i], &f);
      given[i] = f.membrane ? u : s;
      v[i] = reset_by(u, s, threshold[i], rho[i], &f, reset);
    }
    store_row(out, given, vectors, lanes, stream);
  }
  EACH(i) store(carried + i * VL, left_by(v[i], rho[i], reset), lanes);
}

INLINE void lif_forward_block(const lif_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes) {
  WITH_FLAGS(lif_forward_at, c, row, tile, n, vectors, lanes, c->f.kind == INTEGER ? INTEGER : ATAN);
}

static void lif_forward_row(const void *call, int64_t row, int64_t first, int64_t last) {
  const lif_t *c = call;
  memcpy(c->end + row * c->e.width + first, c->state + row * c->e.width + first, (last - first) * sizeof(float));
  for (int64_t tile = 0; tile < tiles_of(&c->e); tile++)
    OVER_CHANNELS(WIDE, lif_forward_block, c, row, tile, first, last);
}

INLINE void lif_backward_at(const lif_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes,
                            const fire_t f, const int reset) {
  const int64_t width = c->e.width, begin = tile * TILE;
  const int steps = (int)(begin + TILE < c->e.time ? TILE : c->e.time - begin);
  const int stream = c->e.stream && lanes == VL;
  const uint8_t *starts = c->starts ? c->starts + row * c->e.time + begin : 0;
  const float *x = c->x + (row * c->e.time + begin) * width + n;
  const float *grad_out = c->grad_out + (row * c->e.time + begin) * width + n;
  float *grad_x = c->grad_x + (row * c->e.time + begin + steps - 1) * width + n;
  float *carry = c->grad_state + row * width + n;
  const ahead_t before = tile_before(&c->e, row, begin, n, vectors);
  if (stream) fetch_pages(c->grad_x + (row * c->e.time + begin - TILE) * width, n, vectors);
  struct {
    vf v[NARROW], direct[NARROW], stays[NARROW]; /* of the adjoint: what came straight, what a hard reset leaves */
  } kept[TILE];
  vf v[NARROW], decay[NARROW], rho[NARROW], back[NARROW], to_decay[NARROW], to_threshold[NARROW];
  threshold_t threshold[NARROW];
  EACH(i) {
    v[i] = load(c->checkpoints_in + (row * tiles_of(&c->e) + tile) * width + n + i * VL, lanes);
    decay[i] = load(c->decay + n + i * VL, lanes);
    threshold[i] = load_threshold(c->threshold + n + i * VL, lanes);
    rho[i] = load(c->rho + n + i * VL, lanes);
    back[i] = load(carry + i * VL, lanes);
    to_decay[i] = to_threshold[i] = splat(0.0f);
  }
  for (int t = 0; t < steps; t++, x += width, grad_out += width) {
    if (starts && starts[t]) EACH(i) v[i] = v[i] * 0.0f;
    EACH(i) {
      fetch_half(c->x, c->grad_out, before, t, i, vectors);
      vf u = decay[i] * v[i] + load(x + i * VL, lanes), h = load(grad_out + i * VL, lanes);
      if (!f.membrane) {
        h = h * derivative(u, threshold[i], &f);
        if (c->grad_threshold) to_threshold[i] = madd(h, -threshold_slope(u, threshold[i], &f), to_threshold[i]);
      }
      kept[t].v[i] = v[i];
      kept[t].direct[i] = h;
      vf s = fire(u, threshold[i], &f);
      if (reset == RESET_HARD) kept[t].stays[i] = 1.0f - s;
      v[i] = reset_by(u, s, threshold[i], rho[i], &f, reset);
    }
  }
  for (int t = steps - 1; t >= 0; t--, grad_x -= width) {
    vf adjoint[NARROW];
    EACH(i) {
      fetch_half(c->x, c->grad_out, before, TILE + steps - 1 - t, i, vectors);
      if (reset == RESET_HARD) back[i] = back[i] * kept[t].stays[i];
      adjoint[i] = back[i] + kept[t].direct[i];
      to_decay[i] = madd(adjoint[i], kept[t].v[i], to_decay[i]);
      back[i] = decay[i] * adjoint[i];
    }
    store_row(grad_x, adjoint, vectors, lanes, stream);
    if (starts && starts[t]) EACH(i) back[i] = back[i] * 0.0f;
  }
  EACH(i) {
    store(carry + i * VL, back[i], lanes);
    if (c->grad_decay) accumulate(c->grad_decay + row * width + n + i * VL, to_decay[i], lanes);
    if (c->grad_threshold) accumulate(c->grad_threshold + row * width + n + i * VL, to_threshold[i], lanes);
  }
}

INLINE void lif_backward_block(const lif_t *c, int64_t row, int64_t tile, int64_t n, const int vectors, const int lanes) {
  WITH_FLAGS(lif_backward_at, c, row, tile, n, vectors, lanes, c->f.kind);
}

static void lif_backward_row(const void *call, int64_t row, int64_t first, int64_t last) {
  const lif_t *c = call;
  memcpy(c->grad_state + row * c->e.width + first, c->grad_end + row * c->e.width + first,
         (last - first) * sizeof(float));
  for (int64_t tile = tiles_of(&c->e) - 1; tile >= 0; tile--)
    OVER_CHANNELS(NARROW, lif_backward_block, c, row, tile, first, last);
}

EXPORT(lif_forward)(lif_t *c) {
  c->e.stream = prepare_output(c->out, c->e.batch * c->e.time * c->e.width * 4, c->e.width);
  parallel(lif_forward_row, c, &c->e);
}

EXPORT(lif_backward)(lif_t *c) {
  c->e.stream = prepare_output(c->grad_x, c->e.batch * c->e.time * c->e.width * 4, c->e.width);
  parallel(lif_backward_row, c, &c->e);
}

EXPORT_INT(lif_step)(lif_t *c, const guard_t *guard) {
  if (!unchanged(guard)) return CHANGED;
  unsigned before = flush_denormals();
  for (int64_t row = 0; row < c->e.batch; row++) lif_forward_row(c, row, 0, c->e.width);
  int finite = all_finite(c->end, c->e.batch * c->e.width);
  restore_mode(before);
  return finite;
}
