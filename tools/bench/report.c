/* baton-bench-report - reads the lines of the measuring programs (sample.h) on standard input and prints
** all of them together: a table, or with --json what api.md section 11 says.
**
** A peer may come in several kinds; of each figure the best kind counts: the one with the lowest median, or with the
** highest where the unit is %. A line "absent", PEER, REASON says that a peer could not be measured. */
#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_FIGURES = 1024, MOST_PEERS = 8, MOST_ABSENT = 32, NAME_SIZE = 64 };

typedef struct measured {
  double median, min, max;
} measured;

typedef struct peer {
  char name[NAME_SIZE]; /* "openmp" */
  char kind[NAME_SIZE]; /* "libgomp-active" */
  measured values;
} peer;

typedef struct figure {
  char name[NAME_SIZE];
  char unit[NAME_SIZE];
  int known; /* Baton's own line was there */
  measured baton;
  peer peers[MOST_PEERS];
  uint32_t peer_count;
} figure;

typedef struct absence {
  char peer[NAME_SIZE];
  char reason[2 * NAME_SIZE];
} absence;

typedef struct report {
  figure figures[MOST_FIGURES];
  absence absent[MOST_ABSENT];
  uint32_t count, absent_count;
} report;

/* --- Reading ------------------------------------------------------------------------------------------ */

static figure *find_figure(report *all, const char *name, const char *unit) {
  for (uint32_t i = 0; i < all->count; i++)
    if (strcmp(all->figures[i].name, name) == 0) return &all->figures[i];
  if (all->count == MOST_FIGURES) return NULL;
  figure *fresh = &all->figures[all->count++];
  snprintf(fresh->name, sizeof fresh->name, "%s", name);
  snprintf(fresh->unit, sizeof fresh->unit, "%s", unit);
  return fresh;
}

static peer *find_peer(figure *of, const char *name) {
  for (uint32_t i = 0; i < of->peer_count; i++)
    if (strcmp(of->peers[i].name, name) == 0) return &of->peers[i];
  if (of->peer_count == MOST_PEERS) return NULL;
  peer *fresh = &of->peers[of->peer_count++];
  snprintf(fresh->name, sizeof fresh->name, "%s", name);
  fresh->values.median = NAN;
  return fresh;
}

static int is_better(const figure *row, double value, double other) {
  return strcmp(row->unit, "%") == 0 ? value > other : value < other;
}

static int add(report *all, const char *who, const char *name, const char *unit, const measured *values) {
  char peer_name[NAME_SIZE];
  figure *row = find_figure(all, name, unit);
  if (!row) return 0;
  if (strcmp(who, "baton") == 0) {
    row->baton = *values;
    row->known = 1;
    return 1;
  }
  size_t length = strcspn(who, "/");
  snprintf(peer_name, sizeof peer_name, "%.*s", (int)length, who);
  peer *other = find_peer(row, peer_name);
  if (!other) return 0;
  if (isnan(other->values.median) || is_better(row, values->median, other->values.median)) {
    other->values = *values;
    snprintf(other->kind, sizeof other->kind, "%s", who[length] ? who + length + 1 : "");
  }
  return 1;
}

static int add_absence(report *all, char *rest) {
  const char *name = strsep(&rest, "\t");
  if (!rest || all->absent_count == MOST_ABSENT) return 0;
  absence *fresh = &all->absent[all->absent_count++];
  snprintf(fresh->peer, sizeof fresh->peer, "%s", name);
  snprintf(fresh->reason, sizeof fresh->reason, "%s", rest);
  return 1;
}

static int read_line(report *all, char *line) {
  static const char absent[] = "absent\t";
  char *fields[6], *rest = line, *end;
  measured values;
  line[strcspn(line, "\n")] = 0;
  if (strncmp(line, absent, strlen(absent)) == 0) return add_absence(all, line + strlen(absent));
  for (int i = 0; i < 6; i++)
    if (!(fields[i] = strsep(&rest, "\t"))) return 0;
  values.median = strtod(fields[3], &end);
  values.min = strtod(fields[4], NULL);
  values.max = strtod(fields[5], NULL);
  return !rest && end != fields[3] && !*end && add(all, fields[0], fields[1], fields[2], &values);
}

/* --- The machine -------------------------------------------------------------------------------------- */

/* The name of the CPU as the system gives it; "unknown" where it gives none. */
static void cpu_model(char model[NAME_SIZE]) {
  char line[256];
  FILE *file = fopen("/proc/cpuinfo", "r");
  snprintf(model, NAME_SIZE, "unknown");
  if (!file) return;
  while (fgets(line, sizeof line, file)) {
    const char *value = strchr(line, ':');
    if (strncmp(line, "model name", strlen("model name")) != 0 || !value) continue;
    value += 1 + strspn(value + 1, " ");
    snprintf(model, NAME_SIZE, "%.*s", (int)strcspn(value, "\n"), value);
    break;
  }
  fclose(file);
}

/* --- Printing ----------------------------------------------------------------------------------------- */

static json_t *measured_json(const measured *values) {
  return json_pack("{s:f, s:f, s:f}", "median", values->median, "min", values->min, "max", values->max);
}

static json_t *figure_json(const figure *row) {
  json_t *peers = json_object(), *ratio = json_object();
  for (uint32_t i = 0; i < row->peer_count; i++) {
    const peer *other = &row->peers[i];
    json_object_set_new(peers, other->name, measured_json(&other->values));
    if (row->baton.median > 0)
      json_object_set_new(ratio, other->name, json_real(other->values.median / row->baton.median));
  }
  return json_pack("{s:s, s:s, s:o, s:o, s:o}", "name", row->name, "unit", row->unit, "baton",
                   measured_json(&row->baton), "peers", peers, "ratio", ratio);
}

static int print_json(const report *all) {
  char model[NAME_SIZE];
  json_t *figures = json_array(), *absent = json_object();
  cpu_model(model);
  for (uint32_t i = 0; i < all->count; i++)
    if (all->figures[i].known) json_array_append_new(figures, figure_json(&all->figures[i]));
  for (uint32_t i = 0; i < all->absent_count; i++)
    json_object_set_new(absent, all->absent[i].peer, json_string(all->absent[i].reason));
  json_t *root =
      json_pack("{s:{s:I, s:s}, s:o, s:o}", "machine", "cpus", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN),
                "model", model, "figures", figures, "absent", absent);
  if (!root) return 0;
  int failed = json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
  putchar('\n');
  json_decref(root);
  return !failed;
}

static void print_table(const report *all) {
  printf("%-40s %-10s %10s %10s %10s   %s\n", "figure", "unit", "median", "min", "max",
         "peers: median, ratio");
  for (uint32_t i = 0; i < all->count; i++) {
    const figure *row = &all->figures[i];
    if (!row->known) continue;
    printf("%-40s %-10s %10.1f %10.1f %10.1f", row->name, row->unit, row->baton.median, row->baton.min,
           row->baton.max);
    for (uint32_t p = 0; p < row->peer_count; p++) {
      const peer *other = &row->peers[p];
      printf("   %s %.1f (%s), %.1fx", other->name, other->values.median, other->kind,
             other->values.median / row->baton.median);
    }
    putchar('\n');
  }
  for (uint32_t i = 0; i < all->absent_count; i++)
    printf("no %s: %s\n", all->absent[i].peer, all->absent[i].reason);
}

int main(int argc, char **argv) {
  static report all;
  char *line = NULL;
  size_t size = 0;
  int json = argc == 2 && strcmp(argv[1], "--json") == 0;
  if (argc > 1 && !json) {
    fprintf(stderr, "usage: %s [--json]\n", argv[0]);
    return 2;
  }
  for (uint32_t number = 1; getline(&line, &size, stdin) > 0; number++)
    if (!read_line(&all, line)) {
      fprintf(stderr, "line %u is no measurement, or there are too many\n", number);
      free(line);
      return 2;
    }
  free(line);
  if (!json) print_table(&all);
  return json && !print_json(&all);
}
