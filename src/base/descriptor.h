/* base/descriptor.h - numbers of descriptors. Any thread. */
#ifndef BASE_DESCRIPTOR_H
#define BASE_DESCRIPTOR_H

/* The same file under a number above those of the standard streams, and closed when a program is executed: what the process prints
** must not end up there when one of those is closed. `fd` is used up. -1 with errno after a failure, or if `fd` is -1. */
int base_descriptor_above_streams(int fd);

#endif
