# What `cmake --install` puts in place: programs, man pages, systemd units, the C
# library with its header, and how CMake and pkg-config find it.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# All of it, without the tests: what `cmake --install` needs to be built.
add_custom_target(installed)

foreach(program tributary tributaryd tributary-sim)
  if(TARGET ${program})
    add_dependencies(installed ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
  if(TARGET man-${program})
    add_dependencies(installed man-${program})
    install(FILES ${CMAKE_BINARY_DIR}/man/${program}.1
      DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  endif()
endforeach()

include(cmake/systemd.cmake)

if(TARGET libtributary)
  set(package ${CMAKE_INSTALL_LIBDIR}/cmake/tributary)
  install(FILES ${CMAKE_SOURCE_DIR}/include/tributary.h
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  add_dependencies(installed libtributary)
  install(TARGETS libtributary EXPORT tributary
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT tributary NAMESPACE tributary:: DESTINATION ${package}
    FILE tributary-config.cmake)
  write_basic_package_version_file(
    ${CMAKE_BINARY_DIR}/tributary-config-version.cmake
    VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
  install(FILES ${CMAKE_BINARY_DIR}/tributary-config-version.cmake
    DESTINATION ${package})
  configure_file(${CMAKE_SOURCE_DIR}/cmake/tributary.pc.in
    ${CMAKE_BINARY_DIR}/tributary.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/tributary.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()
