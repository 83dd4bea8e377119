/* tpl_number.h: numbers as JavaScript writes and reads them: double precision, shortest digits.
 * Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TPL_NUMBER_H
#define COORDINATOR_TPL_NUMBER_H

#include "coordinator/template/tpl_text.h"

#define TPL_NUMBER_BYTES 40

/* Writes v as String(v) does (ECMA-262 6.1.6.1.20), without a NUL; returns the bytes. */
uint32_t tpl_number_put(char out[TPL_NUMBER_BYTES], double v);
/* The same for a float of the language: "2.0", "-0.0". */
uint32_t tpl_number_put_float(char out[TPL_NUMBER_BYTES], double v);
/* parseInt(t, 10) and parseFloat(t): the longest number that t begins with, or NaN. */
double tpl_number_parse_int(struct text t);
double tpl_number_parse_float(struct text t);
/* Number(t): the whole text; 0 when it is blank, NaN when it is no number. */
double tpl_number_of(struct text t);

#endif
