/* device/claim_file.h - the files that claims are locks on. Private to src/device.
**
** They lie in the folder `baton` of $XDG_RUNTIME_DIR; or, where that is not set or no directory of this user, in
** the folder `baton-UID` of $TMPDIR, or else of /tmp. The folder belongs to the user and is closed to others. The
** files are empty, and nobody removes them: a lock on a removed file would keep nobody out. */
#ifndef DEVICE_CLAIM_FILE_H
#define DEVICE_CLAIM_FILE_H

#include <baton/error.h>

/* Opens the file of a device, and makes it and its folder where they are missing; the caller closes *fd.
** `resource_limit` without a file descriptor; else `io_error`, also for a folder that others can write. */
BATON_MUST_CHECK baton_status device_claim_file_open(const char *platform, uint32_t id, int *fd,
                                                     baton_error *err);

/* The same for a look: makes nothing. -1 if there is no such file, or none that this user can trust. */
int device_claim_file_find(const char *platform, uint32_t id);

/* Why a system call on the file of a device failed. */
baton_status device_claim_file_error(const char *platform, uint32_t id, int number, baton_error *err);

#endif
