# The generated code stays behind the .c files of this room.
target_link_libraries(tb_wire PRIVATE tb_proto_wire)
