/* mpi_expect.h: checks inside a program that runs on several ranks.
 *
 * cmocka knows one process; here a failed check prints the rank and both values and ends the
 * process with status 1, upon which mpirun ends the job.  Any rank, main thread. */
// SPDX-License-Identifier: MIT
#ifndef TESTS_MPI_EXPECT_H
#define TESTS_MPI_EXPECT_H

#include <stdio.h>
#include <stdlib.h>

#define EXPECT(rank, cond, ...)                                                                    \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "rank %d: %s:%d: expected %s: ", (rank), __FILE__, __LINE__, #cond);   \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#endif
