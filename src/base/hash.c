#include "base/hash.h"
#include "base/memory.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

/* The algorithm is looked up once: by name it costs more than hashing a small file. The configuration file
** of OpenSSL has nothing to say here and costs another 0.3 ms; a host that needs it initialises OpenSSL
** before Baton. */
static EVP_MD *algorithm;
static pthread_once_t algorithm_once = PTHREAD_ONCE_INIT;

static void find_algorithm(void) {
  OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
  algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
}

struct base_hasher {
  EVP_MD_CTX *context;
  int failed;
};

base_hasher *base_hasher_open(void) {
  pthread_once(&algorithm_once, find_algorithm);
  base_hasher *hasher = base_calloc(1, sizeof *hasher);
  if (!hasher) return NULL;
  hasher->context = EVP_MD_CTX_new();
  hasher->failed = !algorithm || !hasher->context || !EVP_DigestInit_ex2(hasher->context, algorithm, NULL);
  return hasher;
}

void base_hasher_add(base_hasher *hasher, const void *data, size_t size) {
  if (!hasher || hasher->failed) return;
  hasher->failed = !EVP_DigestUpdate(hasher->context, data, size);
}

void base_hasher_add_text(base_hasher *hasher, const char *text) {
  uint64_t length = text ? strlen(text) : UINT64_MAX;
  base_hasher_add(hasher, &length, sizeof length);
  if (text) base_hasher_add(hasher, text, (size_t)length);
}

int base_hasher_end(base_hasher *hasher, base_digest *out) {
  int good = hasher && !hasher->failed && EVP_DigestFinal_ex(hasher->context, out->bytes, NULL);
  if (!good) memset(out, 0, sizeof *out);
  if (hasher) EVP_MD_CTX_free(hasher->context);
  base_free(hasher);
  return good;
}

int base_hash(const void *data, size_t size, base_digest *out) {
  base_hasher *hasher = base_hasher_open();
  base_hasher_add(hasher, data, size);
  return base_hasher_end(hasher, out);
}

void base_digest_text(const base_digest *digest, char text[BASE_DIGEST_TEXT]) {
  static const char digits[] = "0123456789abcdef";
  for (int i = 0; i < BASE_DIGEST_SIZE; i++) {
    text[2 * i] = digits[digest->bytes[i] >> 4];
    text[2 * i + 1] = digits[digest->bytes[i] & 15];
  }
  text[2 * BASE_DIGEST_SIZE] = 0;
}
