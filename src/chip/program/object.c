#include "chip/program/object.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SELF_DATA = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB };

static const struct {
  uint16_t number;
  const char *name;
} machines[] = {{EM_X86_64, "x86_64"}, {EM_AARCH64, "aarch64"}, {EM_386, "i386"},
                {EM_ARM, "arm"},       {EM_RISCV, "riscv"},     {EM_PPC64, "ppc64"}};

static const char *machine_name(unsigned number) {
  for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++)
    if (machines[i].number == number) return machines[i].name;
  return "another machine";
}

/* The machine that this code was compiled for; EM_NONE: not told apart. */
static unsigned own_machine(void) {
#if defined(__x86_64__)
  return EM_X86_64;
#elif defined(__aarch64__)
  return EM_AARCH64;
#elif defined(__riscv)
  return EM_RISCV;
#else
  return EM_NONE;
#endif
}

/* Up to `size` bytes; fewer only at the end of the file. -1 and errno after a failure. */
static ssize_t read_at(int fd, void *to, size_t size, uint64_t offset) {
  ssize_t got;
  do {
    got = pread(fd, to, size, (off_t)offset);
  } while (got < 0 && errno == EINTR);
  return got;
}

/* False if the header belongs to no shared object, or to one for another machine. */
static int check_header(const ElfW(Ehdr) * header, size_t length, chip_text *why) {
  static const uint16_t own_class = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32;
  const unsigned char *ident = header->e_ident;
  if (length < EI_NIDENT || memcmp(ident, ELFMAG, SELFMAG) != 0) {
    chip_text_add(why, "%s", length ? "it is no shared object" : "the file is empty");
    return 0;
  }
  if (length >= sizeof *header && own_machine() != EM_NONE && header->e_machine != own_machine())
    chip_text_add(why, "it is for %s, this machine is %s", machine_name(header->e_machine),
                  machine_name(own_machine()));
  else if (ident[EI_CLASS] != own_class || ident[EI_DATA] != SELF_DATA)
    chip_text_add(why, "its word size or byte order is not that of this machine");
  else if (length >= sizeof *header && header->e_type != ET_DYN)
    chip_text_add(why, "it is no shared object, but an ELF file of type %u", header->e_type);
  return why->length == 0 && !why->failed;
}

static uint64_t sum(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }

/* The first byte behind everything that will be mapped, and behind the headers themselves. */
static int find_end(int fd, const ElfW(Ehdr) * header, uint64_t size, uint64_t *end) {
  *end = sum(header->e_phoff, (uint64_t)header->e_phnum * header->e_phentsize);
  if (*end > size) return 0;
  for (uint32_t i = 0; i < header->e_phnum; i++) {
    ElfW(Phdr) part = {0};
    ssize_t got = read_at(fd, &part, sizeof part, header->e_phoff + (uint64_t)i * header->e_phentsize);
    if (got < 0) return errno;
    uint64_t last = sum(part.p_offset, part.p_filesz);
    if (part.p_type == PT_LOAD && last > *end) *end = last;
  }
  return 0;
}

static int check(int fd, chip_text *why) {
  ElfW(Ehdr) header = {0};
  struct stat status;
  uint64_t end = sizeof header;
  ssize_t got = read_at(fd, &header, sizeof header, 0);
  if (got < 0 || fstat(fd, &status) != 0) return errno;
  if (!check_header(&header, (size_t)got, why)) return 0;
  int cause = got == (ssize_t)sizeof header ? find_end(fd, &header, (uint64_t)status.st_size, &end) : 0;
  if (cause == 0 && end > (uint64_t)status.st_size)
    chip_text_add(why, "it was cut off at byte %lld, its contents go on to byte %llu",
                  (long long)status.st_size, (unsigned long long)end);
  return cause;
}

int chip_object_check(const char *path, chip_text *why) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return errno;
  int cause = check(fd, why);
  close(fd);
  return cause;
}
