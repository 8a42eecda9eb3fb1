/* chip/program/depend.h - the list of files that a compiler says it read (-MD). */
#ifndef CHIP_DEPEND_H
#define CHIP_DEPEND_H

#include "chip/program/text.h"

/* Reads one rule in the syntax of make and adds the absolute path of each prerequisite outside `scratch`;
** relative ones start in `directory`. */
void chip_depend_parse(const char *rule, const char *directory, const char *scratch, chip_list *paths);

#endif
