/* base/cause.h - what errno means to a caller. Any thread. */
#ifndef BASE_CAUSE_H
#define BASE_CAUSE_H

#include <baton/error.h>

/* `out_of_memory` or `resource_limit` (open files, processes) if that is what a call of the system failed by; else
** `otherwise`. */
baton_status base_cause_status(int cause, baton_status otherwise);

#endif
