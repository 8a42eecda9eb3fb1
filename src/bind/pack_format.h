/* bind/pack_format.h - the bytes of a pack. Numbers are those of this machine, without padding between them.
**
**   pack      = mark kind (call | function | results)
**   call      = paths value(arguments) value(function)
**   function  = paths value(function)
**   results   = count:u32 value*
**   paths     = text(package.path) text(package.cpath)
**   text      = length:u32 bytes
**
** A value is a word of pack_word and what the word says. Tables, functions and programs are numbered from 0 as they begin; so are
** variables (the upvalues of functions), with numbers of their own. */
#ifndef BIND_PACK_FORMAT_H
#define BIND_PACK_FORMAT_H

#include <stdint.h>

enum { PACK_MARK = 0xBA, PACK_CALL = 1, PACK_FUNCTION, PACK_RESULTS };

typedef enum pack_word {
  PACK_NIL = 1,
  PACK_FALSE,
  PACK_TRUE,
  PACK_INTEGER,  /* i64 */
  PACK_FLOAT,    /* f64 */
  PACK_STRING,   /* text */
  PACK_TABLE,    /* count:u32, so many values for 1, 2, …; then key and value of the others; PACK_END */
  PACK_SHAPE,    /* count:u8, so many i64: the read-only list that is the shape of a tensor */
  PACK_AGAIN,    /* number:u32 of a table, function or program */
  PACK_TENSOR,   /* position:u32 */
  PACK_CODE,     /* text (of string.dump), count:u8, so many variables */
  PACK_VARIABLE, /* value */
  PACK_VARIABLE_AGAIN, /* number:u32 */
  PACK_GLOBALS,
  PACK_NAMED, /* text: a module, and the fields that lead from it to the value, each behind a zero byte */
  PACK_FUNCTION_NAMED, /* text: a module, a zero byte, the name of a function in it */
  PACK_PROGRAM,        /* text (of chip/program/pack.h), then the value of its signature */
  PACK_END
} pack_word;

#endif
