// SPDX-License-Identifier: MIT
/* kernels_dispatch.c: which table this machine runs.
 *
 * Each table is filled once, on first use: the portable reference in every slot, then the slots of
 * its instruction set over it.  This file is compiled for the baseline and asks the CPU and the
 * operating system before it calls into a file that is not; there are no constructors.  Rows are in
 * ascending order of preference.  Any thread. */

#include "worker/kernels/kernels.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "worker/kernels/kernels_isa.h"

#define ISA_COUNT (sizeof isas / sizeof isas[0])

static bool reference_supported(void) {
    return true;
}

static void fill_reference(struct kernels *k) {
    kernels_reference_fill(k);
    kernels_reference_fill_vec(k);
    kernels_reference_fill_limits(k);
    kernels_reference_fill_attn(k);
}

#if LOCKSTEP_X86_KERNELS
#include <cpuid.h>

/* __builtin_cpu_supports also asks whether the operating system saves the registers (XGETBV). */
static bool avx2_supported(void) {
    unsigned eax, ebx, ecx, edx;
    bool f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
    return f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool avx512_supported(void) {
    return avx2_supported() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
}

static void fill_avx2(struct kernels *k) {
    fill_reference(k);
    kernels_avx2_fill(k);
    kernels_avx2_fill_vec(k);
    kernels_avx2_fill_limits(k);
}

static void fill_avx512(struct kernels *k) {
    fill_reference(k);
    kernels_avx512_fill(k);
    kernels_avx512_fill_vec(k);
    kernels_avx512_fill_limits(k);
}
#elif LOCKSTEP_ARM_KERNELS
#include <sys/auxv.h>

/* SDOT; the rest of what those files use is part of every 64-bit ARM. */
static bool neon_supported(void) {
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
}

static void fill_neon(struct kernels *k) {
    fill_reference(k);
    kernels_neon_fill(k);
    kernels_neon_fill_vec(k);
    kernels_neon_fill_limits(k);
}
#endif

static const struct isa {
    const char *name;
    bool (*supported)(void);
    void (*fill)(struct kernels *k);
} isas[] = {
    {"reference", reference_supported, fill_reference},
#if LOCKSTEP_X86_KERNELS
    {"avx2", avx2_supported, fill_avx2},
    {"avx512-vnni", avx512_supported, fill_avx512},
#elif LOCKSTEP_ARM_KERNELS
    {"neon-dotprod", neon_supported, fill_neon},
#endif
};

static struct kernels tables[ISA_COUNT]; // written by fill_tables alone
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void fill_tables(void) {
    for (size_t i = 0; i < ISA_COUNT; i++)
        if (isas[i].supported()) isas[i].fill(&tables[i]);
}

/* The table of a row, NULL when this machine cannot run it. */
static const struct kernels *table_at(size_t i) {
    pthread_once(&tables_once, fill_tables);
    return tables[i].isa ? &tables[i] : NULL;
}

const struct kernels *kernels_by_name(const char *isa) {
    for (size_t i = 0; i < ISA_COUNT; i++)
        if (strcmp(isas[i].name, isa) == 0) return table_at(i);
    return NULL;
}

/* "reference, avx2": what this machine can run. */
static void list_supported(char *text, size_t size) {
    text[0] = '\0';
    for (size_t i = 0; i < ISA_COUNT; i++) {
        if (!table_at(i)) continue;
        if (text[0]) strncat(text, ", ", size - strlen(text) - 1);
        strncat(text, isas[i].name, size - strlen(text) - 1);
    }
}

err kernels_select(const struct kernels **out) {
    const char *name = getenv("LOCKSTEP_ISA");

    if (name && *name) {
        char supported[64];
        *out = kernels_by_name(name);
        if (*out) return ERR_OK;
        list_supported(supported, sizeof supported);
        return FAIL(ERR_USAGE,
                    "LOCKSTEP_ISA=%s cannot be used on this machine: choose one of %s, or unset it "
                    "for the best of them",
                    name, supported);
    }
    for (size_t i = ISA_COUNT; i-- > 0;) {
        *out = table_at(i);
        if (*out) break; // at the latest the reference
    }
    return ERR_OK;
}
