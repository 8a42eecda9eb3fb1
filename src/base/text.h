/* base/text.h - numbers as text with a decimal point, whatever the locale of the process says. Any thread. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <baton/error.h>
#include <stdarg.h>
#include <stddef.h>

/* As vsnprintf and snprintf. */
BATON_PRINTF(3, 0) int base_vprint(char *text, size_t size, const char *fmt, va_list values);
BATON_PRINTF(3, 4) int base_print(char *text, size_t size, const char *fmt, ...);

/* As strtod, of the whole text. */
double base_number(const char *text);

#endif
