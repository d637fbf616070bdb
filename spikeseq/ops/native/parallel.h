/* Work split over threads, output pages, and the floating-point mode the kernels run in. */
#pragma once
#include "threads.h"
#include <stdint.h>
#include <sys/mman.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#define STREAM_FROM (4 << 20) /* bytes: outputs below it are better kept in the caches */
#define HUGE_FROM (4 << 20)

typedef struct {
  int64_t batch, time, width;
  int32_t threads, stream, apart; /* stream: outputs go past the caches; apart: rows are split over threads */
} extent_t;

typedef void (*kernel_fn)(const void *call, int64_t row, int64_t first, int64_t last);

typedef struct {
  kernel_fn kernel;
  const void *call;
  int64_t begin, end, ranges, width;
} share_t;

/* A silent membrane decays into denormals, which cost a hundred times a normal product: flush them to zero. */
static unsigned flush_denormals(void) {
#if defined(__x86_64__)
  unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040);
  return before;
#else
  return 0;
#endif
}

static void restore_mode(unsigned before) {
#if defined(__x86_64__)
  _mm_sfence(); /* streamed stores become visible before anyone reads them */
  _mm_setcsr(before);
#else
  (void)before;
#endif
}

static void *run_share(void *argument) {
  const share_t *s = argument;
  unsigned before = flush_denormals();
  for (int64_t unit = s->begin; unit < s->end; unit++) {
    int64_t row = unit / s->ranges, range = unit % s->ranges;
    int64_t blocks = (s->width + 15) / 16; /* ranges meet at multiples of a cache line */
    int64_t first = blocks * range / s->ranges * 16, last = blocks * (range + 1) / s->ranges * 16;
    if (last > s->width) last = s->width;
    if (first < last) s->kernel(s->call, row, first, last);
  }
  restore_mode(before);
  return 0;
}

/* Runs kernel(call, row, first channel, last channel) over all rows of the batch; rows are split by channel only when
   there are fewer of them than threads. */
static void parallel(kernel_fn kernel, const void *call, extent_t *e) {
  const int64_t batch = e->batch, width = e->width;
  int threads = e->threads;
  share_t shares[MAX_THREADS];
  if (threads > MAX_THREADS) threads = MAX_THREADS;
  if (threads < 1) threads = 1;
  int64_t ranges = batch >= threads ? 1 : (threads + batch - 1) / batch;
  int64_t most = (width + 63) / 64;
  if (ranges > most) ranges = most;
  e->apart = ranges > 1;
  int64_t units = batch * ranges;
  if (threads > units) threads = (int)units;
  for (int i = 0; i < threads; i++)
    shares[i] = (share_t){kernel, call, units * i / threads, units * (i + 1) / threads, ranges, width};
  spikeseq_on_threads(run_share, shares, sizeof(share_t), threads);
}

/* Asks for huge pages under a large fresh output (a 512th of the page faults) and says whether to stream into it. */
static int prepare_output(void *p, int64_t bytes, int64_t width) {
#if defined(MADV_HUGEPAGE)
  if (bytes >= HUGE_FROM) {
    uintptr_t page = 2u << 20, begin = ((uintptr_t)p + page - 1) & ~(page - 1), end = ((uintptr_t)p + bytes) & ~(page - 1);
    if (end > begin) madvise((void *)begin, end - begin, MADV_HUGEPAGE);
  }
#endif
  return bytes >= STREAM_FROM && ((uintptr_t)p & 63) == 0 && width % 16 == 0;
}
