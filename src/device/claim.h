/* device/claim.h - one owner for a device among the processes of a user. For src/device, and for a node, whose
** children open devices that it has claimed: others are told of the process that its user knows, and a child that is replaced
** loses nothing.
**
** A claim is a lock of the kernel on a file that stands for the device: it ends with the process, however that
** ends, and the kernel knows whose it is. All devices of one process on the same chip share the claim. Any
** thread. */
#ifndef DEVICE_CLAIM_H
#define DEVICE_CLAIM_H

#include <baton/error.h>

typedef struct device_claim device_claim;

/* Claims device `id` of the platform (static text) for this process. While another process has it, waits at
** most `seconds`; then `device_busy` names that process. `cancelled` if the user of this thread wants no more of
** the wait. `resource_limit` without a file descriptor, `io_error` without a place for the file. On failure
** *out is NULL. */
BATON_MUST_CHECK baton_status device_claim_take(const char *platform, uint32_t id, double seconds,
                                                device_claim **out, baton_error *err);

/* Gives one take back; the last one of the process lets others have the device. In a child that was forked the
** claims of its parent are not its own, and stay. NULL is ignored. */
void device_claim_give(device_claim *claim);

/* The process that has the device, this one included; 0: nobody, or nobody that can be seen from here. */
int32_t device_claim_owner(const char *platform, uint32_t id);

#endif
