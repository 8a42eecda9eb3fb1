/* base/own_file.h - where this code comes from. Any thread. */
#ifndef BASE_OWN_FILE_H
#define BASE_OWN_FILE_H

#include <limits.h>

/* The resolved path of the file that holds this code: the program, or the library that was loaded. False if it cannot be told. */
int base_own_file(char path[PATH_MAX]);

#endif
