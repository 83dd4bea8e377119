// SPDX-License-Identifier: MIT
/* wire.c: see wire.h.  The names of the messages and of the build.
 *
 * The conversion to and from protobuf is in wire_encode.c and wire_decode.c, the only files that
 * include generated code.  This file alone depends on the hash of the sources, so an edit anywhere
 * compiles it again and nothing else. */

#include "common/wire.h"

#include "build_id.h"

static const char *const kind_names[WIRE_KIND_COUNT] = {
    [WIRE_HELLO] = "HELLO",       [WIRE_WELCOME] = "WELCOME",   [WIRE_HEARTBEAT] = "HEARTBEAT",
    [WIRE_WAKE] = "WAKE",         [WIRE_ERROR] = "ERROR",       [WIRE_OPEN] = "OPEN",
    [WIRE_OPENED] = "OPENED",     [WIRE_HEADERS] = "HEADERS",   [WIRE_LOAD] = "LOAD",
    [WIRE_PROGRESS] = "PROGRESS", [WIRE_LOADED] = "LOADED",     [WIRE_STEP] = "STEP",
    [WIRE_RESULT] = "RESULT",     [WIRE_IDLE] = "IDLE",         [WIRE_SHUTDOWN] = "SHUTDOWN",
    [WIRE_MEASURE] = "MEASURE",   [WIRE_MEASURED] = "MEASURED",
};

const char *wire_kind_name(enum wire_kind kind) {
    return (unsigned)kind < WIRE_KIND_COUNT ? kind_names[kind] : "unknown";
}

const char *wire_build_id(void) {
    return BUILD_ID;
}
