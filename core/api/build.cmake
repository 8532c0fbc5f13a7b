# The C library: this room and what it stands on in one shared object that shows
# the names of tributary.map only.
include(GNUInstallDirs)
target_include_directories(tb_api PUBLIC ${CMAKE_SOURCE_DIR}/include)

if(TB_FUZZ)
  return() # a fuzzer's counters are not for a shared object
endif()

set(map ${CMAKE_SOURCE_DIR}/core/api/tributary.map)
add_library(libtributary SHARED $<TARGET_OBJECTS:tb_api>)
set_target_properties(libtributary PROPERTIES
  OUTPUT_NAME tributary
  EXPORT_NAME tributary
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}
  LINK_DEPENDS ${map}
  LINKER_LANGUAGE C
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
target_link_libraries(libtributary PRIVATE tb_train)
target_link_options(libtributary PRIVATE -Wl,--version-script=${map}
  -Wl,--as-needed)
if(NOT TB_SANITIZE) # the sanitizers' names come with the program
  target_link_options(libtributary PRIVATE -Wl,-z,defs)
endif()
target_include_directories(libtributary INTERFACE
  $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
