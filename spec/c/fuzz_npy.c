/* Fuzzes the reader of .npy and .npz files (libFuzzer): whatever the bytes are, it gives a tensor or an error.
** Build with clang and -DBATON_SANITIZE=fuzzer-no-link,address,undefined; run fuzz_npy DIRECTORY. */
#include <baton/tensor.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char path[32];
  baton_error err = {0};
  baton_tensor *tensor;
  int descriptor = memfd_create("fuzz", MFD_CLOEXEC);
  if (descriptor < 0 || write(descriptor, data, size) != (ssize_t)size) abort();
  snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
  for (int keyed = 0; keyed < 2; keyed++) {
    baton_status status = baton_tensor_load(path, keyed ? "a" : NULL, &tensor, &err);
    if ((status == BATON_OK) != (tensor != NULL)) abort();
    if (status != BATON_OK && status != BATON_BAD_FILE && status != BATON_OUT_OF_MEMORY) abort();
    baton_tensor_close(tensor);
  }
  close(descriptor);
  baton_error_clear(&err);
  return 0;
}
