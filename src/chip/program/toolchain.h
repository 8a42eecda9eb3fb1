/* chip/program/toolchain.h - the machine's compiler: where it is, what identifies its output, how it is called.
** Any thread. */
#ifndef CHIP_TOOLCHAIN_H
#define CHIP_TOOLCHAIN_H

#include "chip/program/text.h"

typedef enum chip_language { CHIP_C, CHIP_CXX } chip_language;

/* C++ if the file ends in .cc or .cpp. */
chip_language chip_language_of(const char *source);

/* The words that call the compiler, $CC or $CXX split at blanks, else cc or c++; the first becomes an
** absolute path. `compile_failed` if it does not exist. */
BATON_MUST_CHECK baton_status chip_toolchain_find(chip_language language, chip_list *command,
                                                  baton_error *err);

/* Appends all that decides on the output beside the command line: path, size and time of each program that
** `command` names, the variables that the compiler obeys, and the CPU that -march=native stands for. */
void chip_toolchain_identify(const chip_list *command, chip_text *identity);

/* The folder that holds baton/kernel.h: $BATON_INCLUDE, else the one that belongs to this program or
** library, in a build tree or installed. `io_error` if there is none. */
BATON_MUST_CHECK baton_status chip_toolchain_include(chip_text *path, baton_error *err);

/* Runs a command in `directory` and appends what it prints on either stream; *status as from waitpid. 0,
** or the errno of a start that failed. */
int chip_toolchain_run(const chip_list *command, const char *directory, chip_text *output, int *status);

#endif
