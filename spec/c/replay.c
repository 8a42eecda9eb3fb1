/* Runs a fuzz target once on every file of the folders named: where there is no libFuzzer. Says how many there were. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LARGEST = 1 << 20 };

/* False if it cannot be read. */
static int replay_file(const char *path) {
  FILE *file = fopen(path, "rb");
  uint8_t *room = malloc(LARGEST);
  int read = file && room;
  if (read) {
    size_t size = fread(room, 1, LARGEST, file);
    read = !ferror(file);
    if (read) LLVMFuzzerTestOneInput(room, size);
  }
  if (file) fclose(file);
  free(room);
  return read;
}

static int replay_folder(const char *folder) {
  DIR *list = opendir(folder);
  int count = 0, failed = 0;
  for (struct dirent *entry; list && (entry = readdir(list));) {
    char path[4096];
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    count++;
    if (replay_file(path)) continue;
    fprintf(stderr, "%s cannot be read\n", path);
    failed = 1;
  }
  if (list) closedir(list);
  printf("%s: %d inputs\n", folder, count);
  return count && !failed;
}

int main(int argc, char **argv) {
  int good = argc > 1;
  for (int i = 1; i < argc; i++) good &= replay_folder(argv[i]);
  return !good;
}
