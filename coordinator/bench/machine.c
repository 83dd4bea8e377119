// SPDX-License-Identifier: MIT
/* machine.c: see machine.h.  Reads a dozen small files of /proc and /sys. */

#include "coordinator/bench/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/wire.h"

#define PATH_BYTES 512
#define LINE_BYTES 4096 // the flags of a CPU are one line

/* The first line of a file without its end; false when there is none. */
static bool read_line(char out[LINE_BYTES], const char *root, const char *path) {
    char full[PATH_BYTES];
    snprintf(full, sizeof full, "%s%s", root, path);
    FILE *f = fopen(full, "re");
    bool found = f && fgets(out, LINE_BYTES, f);
    if (f) fclose(f);
    if (found) out[strcspn(out, "\n")] = '\0';
    return found;
}

/* A string that may be no UTF-8, or absent. */
static json_t *text_json(const char *s) {
    json_t *j = s ? json_string(s) : NULL;
    return j ? j : json_null();
}

static json_t *file_json(const char *root, const char *path) {
    char line[LINE_BYTES];
    return text_json(read_line(line, root, path) ? line : NULL);
}

/* The value of the first line "key : value"; NULL when there is none. */
static const char *find_value(char line[LINE_BYTES], const char *root, const char *path,
                              const char *key) {
    char full[PATH_BYTES];
    const char *value = NULL;
    snprintf(full, sizeof full, "%s%s", root, path);
    FILE *f = fopen(full, "re");
    while (f && !value && fgets(line, LINE_BYTES, f)) {
        char *colon = strchr(line, ':');
        size_t n = strlen(key);
        if (!colon || strncmp(line, key, n) != 0 || !strchr(" \t:", line[n])) continue;
        line[strcspn(line, "\n")] = '\0';
        value = colon + 1 + strspn(colon + 1, " \t");
    }
    if (f) fclose(f);
    return value;
}

/* ---- the host ---- */

static json_t *cpuinfo_json(const char *root, const char *key, bool number) {
    char line[LINE_BYTES];
    const char *value = find_value(line, root, "/proc/cpuinfo", key);
    return number && value ? json_integer(atoi(value)) : text_json(value);
}

static json_t *caches_json(const char *root) {
    json_t *caches = json_array();
    for (int i = 0; i < 8; i++) {
        static const char *const names[] = {"level", "type", "size", "shared_cpu_list"};
        char path[PATH_BYTES], line[LINE_BYTES];
        json_t *cache = json_object();
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", i,
                     names[k]);
            if (read_line(line, root, path))
                json_object_set_new(cache, names[k],
                                    k == 0 ? json_integer(atoi(line)) : text_json(line));
        }
        if (json_object_size(cache))
            json_array_append_new(caches, cache);
        else
            json_decref(cache);
    }
    return caches;
}

static json_t *cpu_json(const char *root) {
    json_t *cpu = json_object();
    json_object_set_new(cpu, "model", cpuinfo_json(root, "model name", false));
    json_object_set_new(cpu, "vendor", cpuinfo_json(root, "vendor_id", false));
    json_object_set_new(cpu, "family", cpuinfo_json(root, "cpu family", true));
    json_object_set_new(cpu, "model_number", cpuinfo_json(root, "model", true));
    json_object_set_new(cpu, "stepping", cpuinfo_json(root, "stepping", true));
    json_object_set_new(cpu, "microcode", cpuinfo_json(root, "microcode", false));
    json_object_set_new(cpu, "cores_per_socket", cpuinfo_json(root, "cpu cores", true));
    json_object_set_new(cpu, "threads_per_socket", cpuinfo_json(root, "siblings", true));
    json_object_set_new(cpu, "online", file_json(root, "/sys/devices/system/cpu/online"));
    json_object_set_new(cpu, "visible", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
    json_object_set_new(cpu, "governor",
                        file_json(root, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"));
    json_object_set_new(cpu, "flags", cpuinfo_json(root, "flags", false));
    json_object_set_new(cpu, "caches", caches_json(root));
    return cpu;
}

/* "123 kB" as bytes. */
static json_t *meminfo_json(const char *root, const char *key) {
    char line[LINE_BYTES];
    const char *value = find_value(line, root, "/proc/meminfo", key);
    return value ? json_integer(strtoll(value, NULL, 10) * 1024) : json_null();
}

static json_t *memory_json(const char *root) {
    json_t *memory = json_object();
    json_object_set_new(memory, "total_bytes", meminfo_json(root, "MemTotal"));
    json_object_set_new(memory, "available_bytes", meminfo_json(root, "MemAvailable"));
    json_object_set_new(memory, "transparent_huge_pages",
                        file_json(root, "/sys/kernel/mm/transparent_hugepage/enabled"));
    json_object_set_new(memory, "transparent_huge_pages_defrag",
                        file_json(root, "/sys/kernel/mm/transparent_hugepage/defrag"));
    json_object_set_new(memory, "numa_nodes", file_json(root, "/sys/devices/system/node/online"));
    return memory;
}

static json_t *kernel_json(void) {
    struct utsname u;
    if (uname(&u) != 0) return json_null();
    return json_pack("{s:s, s:s, s:s, s:s}", "name", u.sysname, "release", u.release, "version",
                     u.version, "architecture", u.machine);
}

static json_t *load_json(const char *root) {
    char line[LINE_BYTES];
    double one, five, fifteen;
    if (!read_line(line, root, "/proc/loadavg") ||
        sscanf(line, "%lf %lf %lf", &one, &five, &fifteen) != 3)
        return json_null();
    return json_pack("[f, f, f]", one, five, fifteen);
}

json_t *machine_host_json(const char *root) {
    char name[256] = "", line[LINE_BYTES];
    json_t *host = json_object();
    gethostname(name, sizeof name - 1);
    json_object_set_new(host, "name", text_json(name));
    json_object_set_new(host, "cpu", cpu_json(root));
    json_object_set_new(host, "memory", memory_json(root));
    json_object_set_new(host, "kernel", kernel_json());
    const char *hypervisor = read_line(line, root, "/sys/class/dmi/id/sys_vendor") ? line : NULL;
    json_object_set_new(host, "vendor", text_json(hypervisor));
    json_object_set_new(host, "load_average", load_json(root));
    return host;
}

/* ---- what runs there ---- */

static json_t *build_json(void) {
    return json_pack("{s:s, s:s, s:s}", "id", wire_build_id(), "compiler", LOCKSTEP_COMPILER,
                     "flags", LOCKSTEP_BUILD_FLAGS);
}

static json_t *date_json(void) {
    char text[32];
    time_t now = (time_t)clock_unix_s();
    struct tm utc;
    if (!gmtime_r(&now, &utc) || !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc))
        return json_null();
    return json_string(text);
}

/* {"Q4_0": bytes, …} */
static json_t *types_json(const struct cluster_info *info) {
    json_t *types = json_object();
    for (size_t i = 0; i < gguf_tensor_count(info->gguf); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(info->gguf, i);
        const char *name = dtype_ggml_name((uint32_t)t->type);
        json_int_t before = json_integer_value(json_object_get(types, name));
        json_object_set_new(types, name, json_integer(before + (json_int_t)t->bytes));
    }
    return types;
}

static json_t *model_json(const struct options *o, const struct cluster_info *info) {
    const struct model_shape *s = &info->model->shape;
    char identity[24];
    snprintf(identity, sizeof identity, "%016" PRIx64, info->model->identity);
    json_t *model = json_object();
    json_object_set_new(model, "path", text_json(o->model));
    json_object_set_new(model, "name", text_json(s->name));
    json_object_set_new(model, "identity", json_string(identity));
    json_object_set_new(model, "architecture", text_json(s->arch));
    json_object_set_new(model, "parameters",
                        json_integer((json_int_t)model_parameters(info->model)));
    json_object_set_new(model, "weight_bytes",
                        json_integer((json_int_t)model_weight_bytes(info->model)));
    json_object_set_new(model, "tensor_bytes_by_type", types_json(info));
    json_object_set_new(model, "layers", json_integer(s->n_layers));
    json_object_set_new(model, "dim", json_integer(s->dim));
    json_object_set_new(model, "heads", json_integer(s->n_heads));
    json_object_set_new(model, "kv_heads", json_integer(s->n_kv_heads));
    json_object_set_new(model, "ffn", json_integer(s->n_ff));
    json_object_set_new(model, "vocab", json_integer(s->n_vocab));
    json_object_set_new(model, "context", json_integer(s->n_ctx));
    json_object_set_new(model, "kv_type", json_string(o->kv_type == KV_F32 ? "f32" : "f16"));
    return model;
}

json_t *machine_json(const struct options *o, const struct cluster_info *info) {
    json_t *m = json_object();
    json_object_set_new(m, "date", date_json());
    json_object_set_new(m, "host", machine_host_json(""));
    json_object_set_new(m, "build", build_json());
    json_object_set_new(m, "mpi", text_json(info->mpi));
    json_object_set_new(m, "transport", text_json(info->transport));
    json_object_set_new(m, "isa", text_json(info->ranks[0].isa));
    json_object_set_new(m, "allreduce",
                        json_string(o->allreduce == ALLREDUCE_MPI ? "mpi" : "tree"));
    json_object_set_new(m, "chunk_tokens", json_integer(o->chunk_tokens));
    json_object_set_new(m, "model", model_json(o, info));
    json_object_set_new(m, "clusters", json_array());
    return m;
}

static json_t *limits_json(const struct measure_limits *l) {
    return json_pack("{s:f, s:f, s:f, s:s, s:I, s:I}", "read_gb_per_s", l->read_bytes_per_s / 1e9,
                     "int8_gops", l->int8_ops_per_s / 1e9, "f32_gops", l->f32_ops_per_s / 1e9,
                     "read_way", l->read_way, "read_memory_bytes", (json_int_t)l->memory_bytes,
                     "huge_page_bytes", (json_int_t)l->huge_bytes);
}

void machine_add_cluster(json_t *machine, const struct cluster_info *info,
                         const struct measure_answer *answer) {
    json_t *cluster = json_object(), *ranks = json_array();
    for (uint32_t r = 0; r < info->size; r++) {
        const struct cluster_rank *k = &info->ranks[r];
        json_t *rank = json_object();
        json_object_set_new(rank, "rank", json_integer(r));
        json_object_set_new(rank, "host", text_json(k->host));
        json_object_set_new(rank, "cpu", text_json(answer->ranks[r].cpu));
        json_object_set_new(rank, "threads", json_integer(k->threads));
        json_object_set_new(rank, "cpus", text_json(k->cpus));
        json_object_set_new(rank, "isa", text_json(k->isa));
        json_object_set_new(rank, "weight_bytes", json_integer((json_int_t)k->stats.weight_bytes));
        json_object_set_new(rank, "kv_bytes", json_integer((json_int_t)k->stats.kv_bytes));
        json_array_append_new(ranks, rank);
    }
    json_object_set_new(cluster, "ranks", ranks);
    if (answer->limits.memory_bytes)
        json_object_set_new(cluster, "limits", limits_json(&answer->limits));
    json_array_append_new(json_object_get(machine, "clusters"), cluster);
}
