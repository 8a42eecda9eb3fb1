/* chip/binding.h - the arguments of one run: held on the host, placed on the device, copied there and
** back. */
#ifndef CHIP_BINDING_H
#define CHIP_BINDING_H

#include "chip/program/program.h"
#include "device/device.h"
#include "tensor/storage.h"
#include <baton/worker.h>

/* One argument of a run: a host tensor, child memory, or a scalar. */
typedef struct chip_binding {
  baton_tensor *tensor; /* host tensors: the run's own hold */
  baton_buffer *buffer; /* child memory: the run's own use */
  baton_direction direction;
  baton_argument argument; /* as the orchestration sees it; its view is the next field, NULL for a scalar */
  baton_view view;         /* on the device; contiguous, but for child memory */
  uint64_t address, bytes; /* on the device: from the first to behind the last byte of the view */
  char *kernel_bytes;      /* the same as kernels see it */
} chip_binding;

typedef struct chip_bindings {
  device *dev;
  const baton_program *program;
  chip_binding *items;
  uint32_t count;
  int in_use; /* the host tensors know of the run */
} chip_bindings;

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

/* Device memory for every host tensor; inputs are copied there, outputs filled with 0xA5. */
BATON_MUST_CHECK baton_status chip_bindings_upload(chip_bindings *bindings, baton_error *err);

/* Copies outputs back. */
BATON_MUST_CHECK baton_status chip_bindings_download(chip_bindings *bindings, baton_error *err);

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
