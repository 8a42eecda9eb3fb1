/* chip/program/source.h - where a piece of code stands in a file. */
#ifndef CHIP_SOURCE_H
#define CHIP_SOURCE_H

#include <stdint.h>

/* The line, from 1, on which `code` begins in the file at `path`. False if the file cannot be read or does
** not hold it. Carriage returns are not told apart: a Lua string has none at its line ends. */
int chip_source_line(const char *path, const char *code, uint32_t *line);

#endif
