/* tpl_value.h: values of the template language, and one rendering (struct run) that owns them.
 *
 * Values are small and copied; what they point to lives in the run's arena (strings also in the
 * template or in the caller's JSON) until the rendering ends.  Lists and strings never change;
 * dicts change only while they are built, and as namespaces and scopes.  Numbers are doubles, as in
 * the reference; INTEGER and FLOAT differ in how they are shown.  Local. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TPL_VALUE_H
#define COORDINATOR_TPL_VALUE_H

#include "common/buf.h"
#include "common/error.h"
#include "coordinator/template/tpl_arena.h"
#include "coordinator/template/tpl_ast.h"

struct run;
struct args;
struct dict;
struct function;
struct list;

enum value_kind {
    VALUE_UNDEFINED,
    VALUE_NONE,
    VALUE_BOOLEAN,
    VALUE_INTEGER,
    VALUE_FLOAT,
    VALUE_STRING,
    VALUE_LIST,
    VALUE_TUPLE,
    VALUE_DICT,
    VALUE_NAMESPACE,
    VALUE_FUNCTION,
};

struct value {
    uint8_t kind;    // enum value_kind
    uint32_t length; // of a string, in bytes
    union {
        bool boolean;
        double number;
        const char *bytes;
        const struct list *list; // also of a tuple
        struct dict *dict;       // also of a namespace
        const struct function *function;
    };
};

struct list {
    struct value *items;
    uint32_t count;
};

struct dict_entry {
    struct text key;
    uint32_t hash;
    bool is_integer; // the key was written as a whole number
    struct value value;
};

/* Keeps the order of insertion. */
struct dict {
    struct dict_entry *entries;
    uint32_t count, capacity;
    uint32_t *index; // [index_size] entry + 1, 0: free; NULL while the dict is small
    uint32_t index_size;
};

struct scope {
    struct scope *parent;
    struct dict names;
};

typedef err tpl_builtin(struct run *r, const struct value *self, const struct args *a,
                        struct value *out);

/* A macro (node), a call block's caller (node and scope), or C code (builtin, perhaps of self). */
struct function {
    const struct node *node;
    struct scope *scope;
    tpl_builtin *builtin;
    struct value self;
};

struct args {
    struct value *items;
    uint32_t count;
    struct dict keywords;
    bool has_brackets; // of a filter: x|f() and x|f differ in the reference
};

enum jump { JUMP_NONE, JUMP_BREAK, JUMP_CONTINUE };

struct run {
    struct tpl_arena arena;
    struct buf out;
    uint64_t steps;
    uint32_t depth;
    uint32_t line;  // of the node that is being evaluated, for messages
    enum jump jump; // a break or continue is on its way to its loop, as an error
    bool raised;    // the error is the template's own (raise_exception)
    int64_t now_s;
};

/* ---- bounds ---- */

#define TRY_FAIL(...) FAIL(ERR_REQUEST, __VA_ARGS__)
/* Counts `work` steps (bytes / 64 for copies).  ERR_REQUEST beyond the limit. */
MUST_USE err tpl_run_spend(struct run *r, uint64_t work);
MUST_USE err tpl_run_alloc(struct run *r, size_t count, size_t size, void **out);
/* One level deeper; tpl_run_leave on the way back (not after an error). */
MUST_USE err tpl_run_enter(struct run *r);
void tpl_run_leave(struct run *r);

/* ---- making values ---- */

struct value tpl_none(void);
struct value tpl_undefined(void);
struct value tpl_boolean(bool b);
struct value tpl_integer(double v);
struct value tpl_float(double v);
struct value tpl_string(struct text t);
struct text tpl_text(const struct value *string);
MUST_USE err tpl_list_create(struct run *r, uint32_t count, struct list **out);
struct value tpl_list(const struct list *l);
MUST_USE err tpl_function_create(struct run *r, const struct function *f, struct value *out);

MUST_USE err tpl_dict_create(struct run *r, struct dict **out);
struct value tpl_dict(struct dict *d);
/* NULL when the key is not there.  Valid until the next set or put. */
struct value *tpl_dict_get(struct run *r, const struct dict *d, struct text key);
MUST_USE err tpl_dict_put(struct run *r, struct dict *d, struct text key, struct value v);
/* The same with the hash of the key, where it is known. */
struct value *tpl_dict_find(struct run *r, const struct dict *d, struct text key, uint32_t hash);
MUST_USE err tpl_dict_set(struct run *r, struct dict *d, struct text key, uint32_t hash,
                          struct value v);
/* Keys that are whole numbers: kept as their digits, and given back as numbers. */
MUST_USE err tpl_dict_find_integer(struct run *r, const struct dict *d, double key,
                                   struct value **out);
MUST_USE err tpl_dict_set_integer(struct run *r, struct dict *d, double key, struct value v);
/* After the order of the entries was changed. */
void tpl_dict_reindex(struct run *r, struct dict *d);
/* A list of the keys; of the values; of [key, value]. */
MUST_USE err tpl_dict_keys(struct run *r, const struct dict *d, struct value *out);
MUST_USE err tpl_dict_values(struct run *r, const struct dict *d, struct value *out);
MUST_USE err tpl_dict_items(struct run *r, const struct dict *d, struct value *out);

/* ---- strings that grow ---- */

struct builder {
    struct run *run;
    char *bytes;
    uint32_t length;
    bool failed;
};
void tpl_builder_init(struct builder *b, struct run *r);
/* Begins with a string, without copying it if it is the latest in the arena. */
void tpl_builder_init_with(struct builder *b, struct run *r, struct text t);
void tpl_builder_put(struct builder *b, struct text t);
void tpl_builder_put_c(struct builder *b, const char *s);
MUST_USE err tpl_builder_finish(struct builder *b, struct value *out);

/* ---- questions ---- */

bool tpl_is_number(const struct value *v); // INTEGER or FLOAT
bool tpl_is_list(const struct value *v);   // LIST or TUPLE
bool tpl_is_dict(const struct value *v);   // DICT or NAMESPACE
bool tpl_truth(const struct value *v);
/* "an integer", "undefined", …: for messages. */
const char *tpl_kind_name(const struct value *v);
/* JavaScript's == and === of what the values hold. */
MUST_USE err tpl_equal_loosely(struct run *r, const struct value *a, const struct value *b,
                               bool *out);
bool tpl_equal_strictly(struct run *r, const struct value *a, const struct value *b);
/* Order for sorting: numbers with booleans, strings, none with none.  ERR_REQUEST for others. */
MUST_USE err tpl_compare(struct run *r, const struct value *a, const struct value *b,
                         bool case_sensitive, int *out);

#endif
