/* host/options.h - the command line of a Lua interpreter. */
#ifndef HOST_OPTIONS_H
#define HOST_OPTIONS_H

/* What stands before the script. All zero: nothing. */
typedef struct host_options {
  int version, interactive, execute, ignore_environment; /* -v or -i, -i, -e, -E */
  int help, program_version;                             /* --help, --version */
  int script; /* argv[script] is the script's name, "-" for standard input; argc if there is none */
  int has_script;
  const char *bad;    /* the argument that is wrong; NULL: all is well */
  int needs_argument; /* bad: is known, but lacks its argument */
} host_options;

host_options host_options_read(int argc, char **argv);

/* The lines of the usage text that list options and commands. */
const char *host_usage(void);

#endif
