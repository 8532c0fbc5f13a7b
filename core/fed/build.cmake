# The loops of the exact sum run over every value of every update; the rest of
# this room decides. Without trapping math a select needs no branch; that
# changes no bits.
set_source_files_properties(core/fed/sum_axpy.c core/fed/codecs/f32.c PROPERTIES
  COMPILE_OPTIONS "-fno-trapping-math;$<$<CONFIG:Release>:-O3>")
