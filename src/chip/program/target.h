/* chip/program/target.h - the CPU that kernels are compiled for. */
#ifndef CHIP_TARGET_H
#define CHIP_TARGET_H

/* Model and features of this CPU as a text; equal texts run each other's code. Lives for ever. Any thread. */
const char *chip_target_identity(void);

#endif
