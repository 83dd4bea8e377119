/* hostinfo.h: what a rank can find out about the machine it runs on.
 *
 * Memory that may still be taken and CPU time that may be used, with the limits of control groups
 * (versions 1 and 2) counted, and the shared-memory files that MPI has made.  `root` is put before
 * /proc and /sys: "" on a real machine, a folder in tests.  Nothing here fails: what cannot be read
 * does not limit.  Any thread, Local. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_HOSTINFO_H
#define WORKER_HOSTINFO_H

#include <stddef.h>
#include <stdint.h>

#define HOSTINFO_SHM_MAX      64
#define HOSTINFO_SHM_PATH_MAX 160

struct hostinfo_memory {
    uint64_t host_bytes;   // MemAvailable of the machine
    uint64_t cgroup_bytes; // left in the tightest control group above us, UINT64_MAX without limit
    uint64_t cgroup_id;    // equal for processes of one control group
};

/* Memory that a process may still take. */
struct hostinfo_memory hostinfo_memory(const char *root);
/* The smaller of the two numbers. */
uint64_t hostinfo_memory_available(const struct hostinfo_memory *m);

/* CPUs' worth of time that the control groups allow per second, 0 when there is no limit. */
double hostinfo_cpu_quota(const char *root);

/* Memory of this process that is resident now; and the part of the mapping at `p` (at most `bytes`)
 * that lies in huge pages. */
uint64_t hostinfo_resident_bytes(void);
uint64_t hostinfo_huge_bytes(const void *p, uint64_t bytes);
/* "AMD EPYC 9B45" into out[n], "" when the machine does not say. */
void hostinfo_cpu_name(const char *root, char *out, size_t n);

/* The shared-memory files of MPI that this process has mapped at this moment, at most `max`;
 * returns how many. */
size_t hostinfo_shm_files(char (*paths)[HOSTINFO_SHM_PATH_MAX], size_t max);
/* Unlinks them.  Async-signal-safe: for a process that is about to end by force. */
void hostinfo_unlink_shm_files(void);

#endif
