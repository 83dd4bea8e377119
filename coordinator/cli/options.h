/* options.h: everything that can be said on the command line or in a configuration file.
 *
 * One table in options.c describes every option once: its long name, ini key, argument, default,
 * range, help text and the commands that take it.  Command line over file over default.
 * Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_OPTIONS_H
#define COORDINATOR_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/log.h"

#define OPTIONS_MAX_LAUNCHER_ARGS 64
#define OPTIONS_MAX_STOPS         4
#define OPTIONS_MAX_NUMBERS       16
#define OPTIONS_MAX_KEYS          16
#define OPTIONS_MAX_ORIGINS       32

enum kv_type { KV_F16, KV_F32 };
enum access_format { ACCESS_LOGFMT, ACCESS_JSON };
enum switch_word { SWITCH_OFF, SWITCH_ON };
enum allreduce_kind { ALLREDUCE_TREE, ALLREDUCE_MPI };

struct number_list {
    size_t n;
    uint32_t v[OPTIONS_MAX_NUMBERS]; // [n], all different
};

struct options {
    const char *command; // "run", "serve", …
    bool help, version;
    /* --- the model and the cluster (run, serve, eval, plan) --- */
    const char *model; // default: the demo model beside the program
    bool ranks_given;
    uint32_t ranks;     // -n
    uint32_t threads;   // -t per rank; 0: the CPUs of the rank's share
    uint32_t ctx;       // --ctx tokens per request; 0: the model's
    uint64_t kv_memory; // --kv-memory bytes per cluster; 0: what fits
    uint64_t kv_tokens; // --kv-tokens; 0: what fits
    uint32_t max_batch; // --max-batch sequences in one step
    enum kv_type kv_type;
    enum allreduce_kind allreduce;
    const char *hostfile;
    const char *launcher; // --launcher "CMD": NULL means mpirun
    const char *launcher_args[OPTIONS_MAX_LAUNCHER_ARGS];
    size_t n_launcher_args;
    const char *control_addr; // --control-addr HOST[:PORT] or unix path; NULL: chosen
    const char *secret_file;  // --secret-file (serve --wait)
    bool check_ranks;         // --check-ranks: compare a checksum of the residual stream
    uint32_t chunk_tokens;    // --chunk-tokens: largest prefill chunk; 0: chosen by measured speed
    enum switch_word prefix_cache; // --prefix-cache
    /* --- output --- */
    bool json;
    const char *json_out;
    enum log_level log_level;
    bool log_all_ranks;
    const char *config;
    /* --- run, eval --- */
    const char *prompt, *prompt_file; // eval: --file is prompt_file
    uint32_t max_tokens;
    bool max_tokens_given;
    double temperature, top_p, min_p;
    uint32_t top_k; // 0: off
    bool seed_given;
    uint64_t seed;
    const char *stop[OPTIONS_MAX_STOPS];
    size_t n_stop;
    uint32_t logprobs; // run --logprobs K, eval --top K
    bool ignore_eos;
    /* --- serve --- */
    const char *host;
    uint16_t port;
    const char *port_file;
    const char *alias;         // --alias NAME; NULL: the file's
    const char *chat_template; // --chat-template FILE|NAME|plain; NULL: the model's own
    bool wait_for_ranks;       // --wait
    bool no_page;              // --no-page: GET / shows nothing
    const char *access_log;    // --access-log FILE, "-": standard error, "off"
    enum access_format access_format;
    bool log_prompts;
    uint32_t queue_requests;                // --queue-requests, choices
    uint64_t queue_tokens;                  // --queue-tokens
    const char *api_keys[OPTIONS_MAX_KEYS]; // --api-key
    size_t n_api_keys;
    const char *api_key_file;                      // --api-key-file
    const char *cors_origins[OPTIONS_MAX_ORIGINS]; // --cors-origin
    size_t n_cors_origins;
    /* what one client may take: client_limits.h says what they mean; times in seconds */
    uint64_t max_header_bytes, max_body_bytes, max_unread_bytes;
    uint32_t max_headers, max_connections;
    double header_timeout, body_timeout, idle_timeout, write_timeout, ping_interval;
    double drain_timeout; // --drain: how long running requests may go on after SIGTERM
    /* --- bench --- */
    struct number_list bench_ranks;   // -n; the first of them is `ranks` too
    struct number_list bench_threads; // -t
    struct number_list prefill;       // --prefill prompt tokens that are timed
    struct number_list generate;      // --decode tokens that are timed
    struct number_list batch;         // --batch sequences decoded together
    struct number_list ctx_depth;     // --ctx-depth tokens in the KV cache before what is timed
    uint32_t reps;
    bool alternate;            // a sample of every cluster in turn
    uint64_t read_memory;      // bytes that are read to find the bandwidth
    bool kernels, collectives; // tables of these instead of rows
    const char *csv;
    /* --- tokenize --- */
    bool add_special, parse_special;
    const char *decode; // --decode IDS
    /* --- load --- */
    const char *url, *model_name, *api_key; // model_name: --model
    struct number_list clients;
    uint64_t requests;        // of a level; 0: no bound
    double duration, timeout; // seconds; a duration of 0: no bound
    uint32_t prompt_tokens, shared_prefix;
    bool chat, may_stop;
    /* --- set by the start-up code, not by the user --- */
    int bootstrap_fd; // socket to the rank 0 that started us under mpirun, else -1
    bool spans_hosts; // that mpirun runs on more than one host
    /* --- what is left: positional arguments --- */
    const char **args; // [n_args], inside argv
    size_t n_args;
    void *storage; // strings from the configuration file, owned
};

/* Parses argv[1..] (argv[1] is the command).  ERR_USAGE with a sentence that names the option, the
 * value and what is allowed. */
MUST_USE err options_parse(struct options *o, int argc, char **argv);
void options_deinit(struct options *o);
/* Prints the help of a command (NULL: the overview) to standard output. */
void options_print_help(const char *command);

#endif
