/* On whose threads the kernels run: on OpenMP's, which torch's own operations run on, where Python has found them in this
   process. Between two operations those spin for a while on the cores that threads of ours would want. Else, and after a
   fork, which OpenMP's threads do not live through, on threads that live for one call. */
#include "threads.h"
#include <pthread.h>

typedef void (*pool_t)(void (*body)(void *), void *argument, unsigned threads, unsigned flags); /* GOMP_parallel */
static pool_t pool;

static void forked(void) { pool = 0; }

__attribute__((visibility("default"))) void spikeseq_borrow(pool_t found) {
  static int watching;
  if (!watching) watching = pthread_atfork(0, 0, forked) == 0;
  pool = watching ? found : 0;
}

typedef struct {
  void *(*body)(void *);
  char *arguments;
  size_t size;
  int count, next;
} work_t;

/* Whoever comes takes what is left, so that it does not matter how many come. */
static void take(void *work) {
  work_t *w = work;
  for (int i; (i = __atomic_fetch_add(&w->next, 1, __ATOMIC_RELAXED)) < w->count;) w->body(w->arguments + i * w->size);
}

static void *take_on_thread(void *work) {
  take(work);
  return 0;
}

void spikeseq_on_threads(void *(*body)(void *), void *arguments, size_t size, int count) {
  work_t work = {body, arguments, size, count, 0};
  pthread_t ids[MAX_THREADS];
  int started = 0;
  if (count > 1 && pool) {
    pool(take, &work, (unsigned)count, 0);
    return;
  }
  while (started + 1 < count && pthread_create(&ids[started], 0, take_on_thread, &work) == 0) started++;
  take(&work);
  for (int i = 0; i < started; i++) pthread_join(ids[i], 0);
}
