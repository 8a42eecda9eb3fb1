#include "base/cause.h"
#include <errno.h>

baton_status base_cause_status(int cause, baton_status otherwise) {
  if (cause == ENOMEM) return BATON_OUT_OF_MEMORY;
  return cause == EMFILE || cause == ENFILE || cause == EAGAIN ? BATON_RESOURCE_LIMIT : otherwise;
}
