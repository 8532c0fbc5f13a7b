# The generated code stays behind the .c files of this room.
target_link_libraries(tb_model PRIVATE tb_proto_onnx)
