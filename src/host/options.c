#include "host/options.h"

#include <string.h>

const char *host_usage(void) {
  return "  -e stat   execute string 'stat'\n"
         "  -i        enter interactive mode after executing 'script'\n"
         "  -l mod    require library 'mod' into global 'mod'\n"
         "  -l g=mod  require library 'mod' into global 'g'\n"
         "  -v        show version information\n"
         "  -E        ignore environment variables\n"
         "  -W        turn warnings on\n"
         "  --        stop handling options\n"
         "  -         stop handling options and execute stdin\n"
         "Commands are: run, test, bench, repl, devices, doctor, new; 'baton COMMAND --help' tells more.\n"
         "A file of that name in the working directory comes first: it is taken as a script.\n"
         "SIGUSR1 makes all open workers write what they are doing to stderr.\n";
}

static host_options bad_option(host_options options, const char *argument, int needs_argument) {
  options.bad = argument;
  options.needs_argument = needs_argument;
  return options;
}

host_options host_options_read(int argc, char **argv) {
  host_options options = {.script = argc};
  for (int i = 1; i < argc; i++) {
    const char *word = argv[i];
    if (word[0] != '-' || !word[1]) {
      options.script = i;
      options.has_script = 1;
      return options;
    }
    if (!strcmp(word, "--")) {
      options.script = i + 1;
      options.has_script = i + 1 < argc;
      return options;
    }
    if (!strcmp(word, "--help"))
      options.help = 1;
    else if (!strcmp(word, "--version"))
      options.program_version = 1;
    else if (!strcmp(word, "-i"))
      options.interactive = options.version = 1;
    else if (!strcmp(word, "-v"))
      options.version = 1;
    else if (!strcmp(word, "-E"))
      options.ignore_environment = 1;
    else if (word[1] == 'e' || word[1] == 'l') {
      options.execute |= word[1] == 'e';
      if (word[2]) continue;
      if (++i >= argc || argv[i][0] == '-') return bad_option(options, word, 1);
    } else if (strcmp(word, "-W") != 0)
      return bad_option(options, word, 0);
  }
  return options;
}
