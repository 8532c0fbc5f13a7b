# The generated code stays behind the .c files of this room.
target_link_libraries(tb_model PRIVATE tb_proto_onnx)
# Without trapping math a select needs no branch; that changes no bits.
set_source_files_properties(core/model/ops/reduce.c
  core/model/ops/reduce_grad.c PROPERTIES
  COMPILE_OPTIONS "-fno-trapping-math")
# Operators loop over numbers; what reads and edits graphs does not.
file(GLOB ops CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/core/model/ops/*.c)
set_property(SOURCE ${ops} APPEND PROPERTY
  COMPILE_OPTIONS $<$<CONFIG:Release>:-O3>)
