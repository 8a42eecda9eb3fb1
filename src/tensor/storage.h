/* tensor/storage.h - what the layers above need of a tensor beyond baton/tensor.h: its memory, and who uses
** it now. */
#ifndef TENSOR_STORAGE_H
#define TENSOR_STORAGE_H

#include <baton/tensor.h>

/* Memory that tensors share; reference-counted. Any thread. */
typedef struct tensor_storage tensor_storage;

tensor_storage *tensor_storage_of(const baton_tensor *tensor);
void tensor_storage_retain(tensor_storage *storage);
void tensor_storage_release(tensor_storage *storage);

/* The address of its first byte. */
void *tensor_storage_address(const tensor_storage *storage);

/* A tensor of a view over memory of the caller, strided or not, which must outlive every tensor over it. Not aligned for its
** elements: `invalid_argument`; sizes and strides that are no memory at all: `out_of_range`. The caller owns *out. */
BATON_MUST_CHECK baton_status tensor_over_view(const baton_view *view, baton_tensor **out, baton_error *err);

/* A run that will read (or, with `writes`, write) the storage begins, and ends; `failure` is why its writes
** did not happen, or NULL. The run holds the storage in between. Any thread; never blocks. */
void tensor_use_begin(tensor_storage *storage, int writes);
void tensor_use_end(tensor_storage *storage, int writes, const baton_error *failure);

/* Whether somebody has been told why a run failed: from then on it is no news for who touches what the run should have written.
** Reference-counted; storages have holds of their own. NULL, as when memory is out, is one that is never told. Any thread. */
typedef struct tensor_notice tensor_notice;
tensor_notice *tensor_notice_create(void);
void tensor_notice_release(tensor_notice *notice);
void tensor_notice_tell(tensor_notice *notice);

/* tensor_use_end of a write that did not happen, of a run that has such a notice. */
void tensor_use_fail(tensor_storage *storage, const baton_error *failure, tensor_notice *notice);

/* Waits until nobody writes the tensor, and with `writes` until nobody reads it either. Returns the error
** of a run that failed meanwhile, or that failed before and whose failure nobody has been told yet;
** `state` if this thread would wait for what only it can end. */
baton_status tensor_await(const baton_tensor *tensor, int writes, baton_error *err);

/* True if the last run that should have written the storage failed, and nobody has been told. */
int tensor_untold(tensor_storage *storage);
/* The error of that run, which counts as told then; BATON_OK if there is none. Never waits. */
baton_status tensor_take_failure(tensor_storage *storage, baton_error *err);

/* True while an unfinished run writes the storage, or with `writes` reads it. */
int tensor_storage_in_use(const tensor_storage *storage, int writes);

/* Who tells whether a wait of this thread for the storage could never end: its users have not begun, because this thread is just
** about to start them. The guard of the highest level that has one is asked, and may do on this thread what ends the use. Set once a
** level, before the first use begins. */
enum { TENSOR_GUARD_OF_CHIPS, TENSOR_GUARD_OF_NODES, TENSOR_GUARDS };
typedef int (*tensor_guard)(const tensor_storage *storage, int writes);
void tensor_set_guard(int level, tensor_guard guard);

/* True while a run is unfinished that writes the tensor. */
int tensor_pending(const baton_tensor *tensor);

/* baton_tensor_index with positions that count from `origin` (1 in Lua), also in messages. */
baton_status tensor_index(const baton_tensor *tensor, int dim, const baton_tensor *positions, int64_t origin,
                          baton_tensor **out, baton_error *err);

/* The reach of the elements of a view around its first one, in bytes: [-*below, *above); nothing without elements. Sizes and
** strides are anything that a caller wrote. False if it is no memory at all. */
int tensor_reach(const baton_view *view, uint64_t *below, uint64_t *above);

#endif
