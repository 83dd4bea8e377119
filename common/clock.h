/* clock.h: monotonic time.  The wall clock is read for dates only, never for intervals.  Any
 * thread. */
// SPDX-License-Identifier: MIT
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>

/* Nanoseconds since the first call in this process (monotonic). */
uint64_t clock_ns(void);
/* Seconds since 1970, for `created` fields. */
int64_t clock_unix_s(void);
/* Milliseconds since 1970, for log lines. */
int64_t clock_unix_ms(void);

#endif
