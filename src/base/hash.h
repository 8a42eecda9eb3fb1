/* base/hash.h - SHA-256, for content addresses. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

enum { BASE_DIGEST_SIZE = 32, BASE_DIGEST_TEXT = 2 * BASE_DIGEST_SIZE + 1 };

typedef struct base_digest {
  uint8_t bytes[BASE_DIGEST_SIZE];
} base_digest;

/* A digest in the making. One thread at a time. */
typedef struct base_hasher base_hasher;

/* NULL when memory is out. What is added to NULL is ignored, so that one check at the end is enough. */
base_hasher *base_hasher_open(void);
void base_hasher_add(base_hasher *hasher, const void *data, size_t size);
/* Adds a text and where it ends ("ab","c" differs from "a","bc"); NULL counts as a text of its own. */
void base_hasher_add_text(base_hasher *hasher, const char *text);
/* Stores the digest and frees the hasher. False when memory was out at any time; *out is then all zero. */
int base_hasher_end(base_hasher *hasher, base_digest *out);

/* The digest of one piece of memory; false when memory is out. Any thread. */
int base_hash(const void *data, size_t size, base_digest *out);

/* 64 hexadecimal digits and a zero. */
void base_digest_text(const base_digest *digest, char text[BASE_DIGEST_TEXT]);

#endif
