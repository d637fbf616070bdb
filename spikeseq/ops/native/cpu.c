/* The fingerprint of the sources, by which a library is told from one that was built before they changed. */
__attribute__((visibility("default"))) const char *spikeseq_sources(void) { return SOURCES; }

/* Which of the built instruction sets this processor runs. */
__attribute__((visibility("default"))) int spikeseq_has(const char *variant) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (variant[0] == 'a' && variant[3] == '5') /* "avx512" */
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd");
  if (variant[0] == 'a') /* "avx2" */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#endif
  return variant[0] == 'g'; /* "generic" */
}
