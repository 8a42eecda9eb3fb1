/* baton/baton.h - everything a program needs that embeds Baton. */
#ifndef BATON_BATON_H
#define BATON_BATON_H

#include <baton/buffer.h>
#include <baton/error.h>
#include <baton/memory.h>
#include <baton/node.h>
#include <baton/platform.h>
#include <baton/program.h>
#include <baton/rounds.h>
#include <baton/tensor.h>
#include <baton/worker.h>

#endif
