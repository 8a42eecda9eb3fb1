/* chip/program/scalar.h - a scalar becomes one of a declared type. */
#ifndef CHIP_SCALAR_H
#define CHIP_SCALAR_H

#include "chip/program/signature.h"

enum { CHIP_SCALAR_TEXT = 48, CHIP_RANGE_TEXT = 80 };

/* Converts a scalar in place to one of `dtypes` (a set of 1u << baton_dtype): its own type, else the
** widest of its kind (integer or float) that holds it, else the widest of the other kind. A float rounds
** to the declared precision. False if none holds it; the value then stays as it was. */
int chip_scalar_convert(chip_value *value, uint32_t dtypes);

/* The value as the user would write it. */
void chip_scalar_text(const chip_value *value, char text[CHIP_SCALAR_TEXT]);

/* What a type holds: "integers from -128 to 127". */
void chip_range_text(baton_dtype dtype, char text[CHIP_RANGE_TEXT]);

#endif
