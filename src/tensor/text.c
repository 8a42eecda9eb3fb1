/* A tensor as text: type, shape, and a head-and-tail excerpt of its elements. */
#include "base/text.h"
#include "tensor/tensor.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { EXCERPT_WHOLE = 8, EXCERPT_ENDS = 3, EXCERPT_ROWS = 24 }; /* elements of a line; lines in all */

/* Text that is cut at `size` but goes on counting. */
typedef struct text_sink {
  char *text;
  size_t size, length;
  int rows;
} text_sink;

BATON_PRINTF(2, 3) static void add(text_sink *sink, const char *fmt, ...) {
  char piece[256];
  va_list values;
  va_start(values, fmt);
  int length = base_vprint(piece, sizeof piece, fmt, values);
  va_end(values);
  for (int i = 0; i < length && i < (int)sizeof piece - 1; i++, sink->length++)
    if (sink->length + 1 < sink->size) sink->text[sink->length] = piece[i];
}

static void add_element(text_sink *sink, const baton_view *view) {
  tensor_block block;
  baton_dtype dtype = (baton_dtype)view->dtype;
  tensor_compute compute = tensor_compute_of(dtype);
  baton_number number = tensor_number(compute, tensor_read(compute, dtype, view->data, 1, 1, &block));
  if (dtype == BATON_BOOL)
    add(sink, "%s", number.value.i64 ? "true" : "false");
  else if (number.dtype == BATON_F64)
    add(sink, "%.6g", number.value.f64);
  else
    add(sink, "%s", tensor_number_print(number).text);
}

/* Elements in brackets, dimension by dimension; of a long one the first and the last. */
static void add_elements(text_sink *sink, const baton_view *view, int depth) {
  if (view->ndim == 0) {
    add_element(sink, view);
    return;
  }
  int64_t size = view->shape[0];
  add(sink, "[");
  for (int64_t i = 0; i < size; i++) {
    if (i > 0) add(sink, view->ndim == 1 ? ", " : ",\n%*s", depth + 1, "");
    if (size > EXCERPT_WHOLE && i == EXCERPT_ENDS) {
      add(sink, "...");
      i = size - EXCERPT_ENDS - 1;
      continue;
    }
    baton_view inner = baton_select(*view, 0, i);
    if (sink->rows >= EXCERPT_ROWS && inner.ndim > 0) {
      add(sink, "...");
      break;
    }
    add_elements(sink, &inner, depth + 1);
  }
  sink->rows += view->ndim == 1;
  add(sink, "]");
}

size_t baton_tensor_text(const baton_tensor *tensor, char *text, size_t size) {
  text_sink sink = {.text = text, .size = size};
  add(&sink, "%s", tensor_name_of(&tensor->view).text);
  if (tensor_pending(tensor))
    add(&sink, " pending");
  else if (baton_view_numel(&tensor->view) > 0) {
    add(&sink, tensor->view.ndim > 1 ? "\n" : " ");
    add_elements(&sink, &tensor->view, 0);
  }
  if (size > 0) sink.text[sink.length < size ? sink.length : size - 1] = 0;
  return sink.length;
}
