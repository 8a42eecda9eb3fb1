/* chip/binding.h - the arguments of a run or of rounds: held on the host, placed on the device, copied there and
** back. */
#ifndef CHIP_BINDING_H
#define CHIP_BINDING_H

#include "chip/program/program.h"
#include "device/device.h"
#include "tensor/storage.h"
#include <baton/rounds.h>

/* One argument of a run: a host tensor, child memory, or a scalar. */
typedef struct chip_binding {
  baton_tensor *tensor; /* host tensors: the run's own hold */
  baton_buffer *buffer; /* child memory: the run's own use */
  baton_direction direction;
  baton_argument argument; /* as the orchestration sees it; its view is the next field, NULL for a scalar */
  baton_view view;         /* on the device; contiguous, but for child memory */
  uint64_t address, bytes; /* on the device: from the first to behind the last byte of the view */
  char *kernel_bytes;      /* the same as kernels see it */
  uint8_t resident;        /* rounds: stays on the device from one to the next … */
  uint8_t current;         /* … which has it already … */
  uint8_t changed;         /* … and has written it since it last came back */
} chip_binding;

static inline int chip_binding_written(const chip_binding *binding) { return binding->direction != BATON_IN; }
static inline int chip_binding_read(const chip_binding *binding) { return binding->direction != BATON_OUT; }

typedef struct chip_bindings {
  device *dev;
  const baton_program *program;
  chip_binding *items;
  uint32_t count;
  int in_use; /* the host tensors know of the run */
} chip_bindings;

/* Puts "gemm: argument 2 (B): " in front of a failure; returns the status. */
baton_status chip_bindings_blame(const chip_bindings *bindings, uint32_t i, baton_status status,
                                 baton_error *err);

/* Begins the use of child memory by an argument. */
BATON_MUST_CHECK baton_status chip_binding_hold_child(chip_binding *binding, const baton_value *value,
                                                      const baton_worker *worker, baton_error *err);

/* Two arguments that overlap, one of them written: `signature`. */
BATON_MUST_CHECK baton_status chip_bindings_check_overlap(const chip_bindings *bindings, baton_error *err);

/* Checks the values against the signature of the program and holds them. `signature` and `out_of_range` as
** in chip_signature_check; two arguments that overlap, one of them written: `signature`; child memory that
** the worker cannot use: `stale_handle`, `closed` or `wrong_device`. */
BATON_MUST_CHECK baton_status chip_bindings_open(chip_bindings *bindings, const baton_worker *worker,
                                                 const baton_program *program, const baton_value *values,
                                                 uint32_t count, baton_error *err);

/* True if a run with `later` must wait for a run with `earlier`: some host bytes are in both, and one
** writes them. */
int chip_bindings_conflict(const chip_bindings *earlier, const chip_bindings *later);

/* From here on who touches the host tensors waits, until the end says that the outputs are there, or why
** not. Ending twice, or what never began, is legal. */
void chip_bindings_begin(chip_bindings *bindings);
void chip_bindings_end(chip_bindings *bindings, const baton_error *failure);

/* True between begin and end for the memory of a host tensor among them. */
int chip_bindings_use(const chip_bindings *bindings, const tensor_storage *storage);

/* Device memory for every host tensor. */
BATON_MUST_CHECK baton_status chip_bindings_place(chip_bindings *bindings, baton_error *err);

/* Copies inputs to the device and fills outputs with 0xA5; what is resident and there already is left out. */
BATON_MUST_CHECK baton_status chip_bindings_upload(chip_bindings *bindings, baton_error *err);

/* Waits until nobody writes a host tensor that an upload would read; the error of a run that failed to write it. */
BATON_MUST_CHECK baton_status chip_bindings_await_inputs(const chip_bindings *bindings, baton_error *err);

/* Copies outputs back, but for resident ones, of which it is noted that they have changed. */
BATON_MUST_CHECK baton_status chip_bindings_download(chip_bindings *bindings, baton_error *err);

/* Copies argument `i` back if it is resident and has changed. */
BATON_MUST_CHECK baton_status chip_bindings_collect(chip_bindings *bindings, uint32_t i, baton_error *err);

/* The argument of that name is resident from now on; `signature` if there is none, or it is no host tensor. */
BATON_MUST_CHECK baton_status chip_bindings_reside(chip_bindings *bindings, const char *name,
                                                   baton_error *err);

/* Replaces arguments: tensors by others of the same dtype, shape and placement, which take over their memory on the
** device, scalars by others that fit. What is resident and has changed is copied back before. All or nothing. */
BATON_MUST_CHECK baton_status chip_bindings_rebind(chip_bindings *bindings, const baton_worker *worker,
                                                   const baton_rebind *rebinds, uint32_t count,
                                                   baton_error *err);

/* The error of an earlier run that failed to write what this one reads, if nobody has been told of it. */
BATON_MUST_CHECK baton_status chip_bindings_check_inputs(const chip_bindings *bindings, baton_error *err);

/* Whoever waited for the run knows that its outputs did not come: who reads them now is not told again. */
void chip_bindings_tell(const chip_bindings *bindings);
/* True if somebody was told so by reading an output. */
int chip_bindings_told(const chip_bindings *bindings);

/* Frees the device memory and ends the uses of buffers; the host tensors stay held. */
void chip_bindings_unload(chip_bindings *bindings);

/* Frees the device memory and the holds. Legal at any time, and twice. */
void chip_bindings_close(chip_bindings *bindings);

#endif
