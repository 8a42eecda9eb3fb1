/* chip/config.h - settings of runs: what a call leaves open comes from its worker, and what makes no sense is refused. */
#ifndef CHIP_CONFIG_H
#define CHIP_CONFIG_H

#include "chip/engine.h"
#include <baton/worker.h>

/* `over` key by key on top of `base`; NULL: `base` itself. */
baton_config chip_config_merge(const baton_config *base, const baton_config *over);

/* Times that are no times, or in the wrong order. */
BATON_MUST_CHECK baton_status chip_config_check_times(const baton_config *config, baton_error *err);

/* The same, and sizes beyond what an engine can have. */
BATON_MUST_CHECK baton_status chip_config_check(const baton_config *config, baton_error *err);

/* The times of a run, with the defaults filled in. */
chip_times chip_config_times(const baton_config *config);

#endif
