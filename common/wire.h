/* wire.h: the messages between coordinator and ranks, as plain structs.
 *
 * wire_encode.c and wire_decode.c are the only files that know the generated protobuf code
 * (proto/ *.proto).  wire_encode appends one frame; wire_decode unpacks a payload into an arena
 * that the caller resets when it is done with the message: a steady stream of messages allocates
 * nothing.  Every string of a decoded message is NUL-terminated, valid UTF-8 and lives in the
 * arena.
 *
 * Who says what:
 *   every rank, on its lifeline    HELLO → WELCOME | ERROR;  HEARTBEAT…; ERROR;  ← WAKE
 *   rank 0, on its link            HELLO → WELCOME | ERROR;  ← OPEN → OPENED (HEADERS…);
 *                                  ← LOAD → PROGRESS… → LOADED;  ← STEP → RESULT…;
 *                                  ← MEASURE → MEASURED;  IDLE;  ← SHUTDOWN
 * Any thread, one arena per thread.  Local. */
// SPDX-License-Identifier: MIT
#ifndef COMMON_WIRE_H
#define COMMON_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/batch.h"
#include "common/buf.h"
#include "common/error.h"
#include "common/measure.h"
#include "common/mem.h"
#include "common/plan.h"

#define WIRE_PROTOCOL_VERSION 1
#define WIRE_HEADERS_CHUNK    ((size_t)1 << 20)  // bytes of model headers in one frame
#define WIRE_MAX_STRINGS      256                // in one list of a HELLO
#define WIRE_ARENA_BYTES      ((size_t)32 << 20) // suffices for any valid message, either way

enum wire_kind {
    WIRE_HELLO,
    WIRE_WELCOME,
    WIRE_HEARTBEAT,
    WIRE_WAKE,
    WIRE_ERROR,
    WIRE_OPEN,
    WIRE_OPENED,
    WIRE_HEADERS,
    WIRE_LOAD,
    WIRE_PROGRESS,
    WIRE_LOADED,
    WIRE_STEP,
    WIRE_RESULT,
    WIRE_IDLE,
    WIRE_SHUTDOWN,
    WIRE_MEASURE,
    WIRE_MEASURED,
    WIRE_KIND_COUNT
};

/* A process introduces itself; the first frame of every control connection. */
struct wire_hello {
    uint32_t protocol;
    const char *build_id;
    const char *secret; // hex
    uint64_t epoch;
    uint32_t rank, size;
    bool is_link; // rank 0's second connection
    const char *host;
    int64_t pid;
    const char *isa;       // kernel table in use
    const char *mpi;       // library version, one line
    const char *transport; // what carries messages, e.g. "vader, tcp"
    uint32_t threads;
    const char *cpus;                // "0-3,8"
    uint32_t local_rank, local_size; // ranks of this host
    uint64_t memory_available_bytes; // of the host, cgroup limit counted
    uint32_t n_shm_files;
    const char *const *shm_files; // shared-memory files that this process must not leave behind
    uint32_t n_warnings;
    const char *const *warnings; // sentences for the banner
};

/* Of all steps that a rank has computed; the three times together are their whole time. */
struct wire_totals {
    uint64_t steps;
    uint64_t compute_ns, wait_ns, wire_ns;
    uint64_t allreduce_bytes;
};

struct wire_heartbeat {
    uint64_t progress; // grows during a step
    bool in_step;
    uint64_t peak_rss_bytes;
    uint64_t cpu_ns; // CPU time of the process so far
    bool last;       // the rank is about to end on purpose
    struct wire_totals totals;
};

struct wire_error {
    err code;
    uint32_t rank;
    const char *message;
};

struct wire_open {
    const char *path;  // of the first file of the model
    bool want_headers; // the coordinator has no file
};

struct wire_opened {
    uint64_t identity;      // gguf_identity
    uint32_t n_readers;     // ranks that can read the file
    uint64_t headers_bytes; // that follow in HEADERS frames, 0 unless asked for
};

struct wire_headers {
    const void *bytes;
    size_t n;
    bool last;
};

struct wire_load {
    uint64_t identity;
    uint64_t plan_hash;
    struct plan plan; // ranks in the arena
    uint32_t kv_blocks;
    bool kv_f32;
    uint32_t max_step_tokens;
    uint32_t max_batch;
    uint32_t threads; // per rank; 0: the rank's share of its host
    bool mpi_allreduce;
    bool check_ranks;
};

struct wire_progress {
    uint64_t bytes_done, bytes_total; // of the whole cluster
};

struct wire_rank_stats {
    uint64_t weight_bytes; // packed weights held
    uint64_t kv_bytes;     // pool
    uint64_t file_bytes_read;
    uint64_t peak_rss_bytes;
    uint32_t threads;
};

struct wire_loaded {
    uint32_t size;
    const struct wire_rank_stats *ranks; // [size]
    uint64_t load_ns;
};

struct wire_message {
    enum wire_kind kind;
    union {
        struct wire_hello hello;
        struct wire_heartbeat heartbeat;
        uint64_t step; // WAKE: wait for this step; IDLE: the last step done; SHUTDOWN, WELCOME: 0
        struct wire_error error;
        struct wire_open open;
        struct wire_opened opened;
        struct wire_headers headers;
        struct wire_load load;
        struct wire_progress progress;
        struct wire_loaded loaded;
        struct batch batch;         // STEP
        struct batch_result result; // RESULT
        struct measure_ask measure;
        struct measure_answer measured;
    };
};

/* Appends one frame with the message to `out`.  `scratch` holds temporary structures (reset by the
 * caller).  ERR_PROTOCOL when it does not fit a frame or the arena. */
MUST_USE err wire_encode(struct buf *out, const struct wire_message *m, struct arena *scratch);
/* Decodes a frame's payload.  ERR_PROTOCOL with a sentence for damaged bytes, unknown kinds, counts
 * over the limits of batch.h, invalid UTF-8, inconsistent lengths, or an arena that is too small.
 */
MUST_USE err wire_decode(struct wire_message *m, const void *payload, size_t n,
                         struct arena *arena);
const char *wire_kind_name(enum wire_kind kind);

/* What this build is: version plus a hash of sources and flags.  The same for both programs. */
const char *wire_build_id(void);

#endif
