/* chip/program/pack.h - a compiled program as bytes, for another process of this machine and this build.
**
** The bytes name the shared objects, which must stay where they are. */
#ifndef CHIP_PACK_H
#define CHIP_PACK_H

#include "chip/program/program.h"
#include "chip/program/text.h"

/* Compiles the program and appends it to `out`. `unsupported` if it calls functions of this process: kernels given as
** `function`, a graph without a script. Any thread. */
BATON_MUST_CHECK baton_status chip_program_pack(baton_program *program, chip_text *out, baton_error *err);

/* The same for who is told what a graph calls (chip/dictation.h): the function of a graph stays here. */
BATON_MUST_CHECK baton_status chip_program_pack_told(baton_program *program, chip_text *out,
                                                     baton_error *err);

/* The program again, not loaded yet; `graph` builds the graph of one that has one; the script that it was packed with
** the program carries. Reads only these bytes; what is no program is refused: `protocol_error` names the part, what
** baton_program_create refuses fails as there. The caller owns *out. Any thread. */
BATON_MUST_CHECK baton_status chip_program_unpack(const void *bytes, uint64_t size, baton_orchestrate graph,
                                                  baton_program **out, baton_error *err);

#endif
