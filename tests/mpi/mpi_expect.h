/* mpi_expect.h: checks inside a program that runs on several ranks.
 *
 * cmocka knows one process; here a failed check prints the rank and both values and ends the
 * process with status 1, upon which mpirun ends the job.  Any rank, main thread. */
// SPDX-License-Identifier: MIT
#ifndef TESTS_MPI_EXPECT_H
#define TESTS_MPI_EXPECT_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define EXPECT(rank, cond, ...)                                                                    \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "rank %d: %s:%d: expected %s: ", (rank), __FILE__, __LINE__, #cond);   \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* With the argument --no-window this process may not make the memory that ranks of a host share, as
 * under a low 'ulimit -f'; MPI's own files still fit.  Before comm_init. */
static inline bool refuse_window(int argc, char **argv) {
    if (argc < 2 || strcmp(argv[1], "--no-window") != 0) return false;
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0) exit(1);
    limit.rlim_cur = 16u << 20;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) exit(1);
    return true;
}

#endif
