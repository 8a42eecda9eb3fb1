#include "device/sim/sim.h"

const device_platform sim_platforms[] = {
    {.name = "a2a3sim",
     .clusters = 24,
     .aic_per_cluster = 1,
     .aiv_per_cluster = 2,
     .control_threads = 4,
     .clock_hz = 50000000},
    {.name = "a5sim",
     .clusters = 36,
     .aic_per_cluster = 1,
     .aiv_per_cluster = 2,
     .control_threads = 5,
     .clock_hz = 1000000000},
    {.name = NULL},
};
