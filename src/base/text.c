#include "base/text.h"
#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static locale_t plain;
static pthread_once_t made = PTHREAD_ONCE_INIT;

static void make_plain(void) { plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); }

/* The thread's own locale from now on; returns the one before. Without memory for one the text is the locale's. */
static locale_t enter_plain(void) {
  pthread_once(&made, make_plain);
  return uselocale(plain);
}

int base_vprint(char *text, size_t size, const char *fmt, va_list values) {
  locale_t before = enter_plain();
  int length = vsnprintf(text, size, fmt, values);
  uselocale(before);
  return length;
}

int base_print(char *text, size_t size, const char *fmt, ...) {
  va_list values;
  va_start(values, fmt);
  int length = base_vprint(text, size, fmt, values);
  va_end(values);
  return length;
}

double base_number(const char *text) {
  locale_t before = enter_plain();
  double value = strtod(text, NULL);
  uselocale(before);
  return value;
}
