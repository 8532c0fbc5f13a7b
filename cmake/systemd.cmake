# systemd units of both daemons and the users that they run as.
file(READ ${CMAKE_SOURCE_DIR}/cmake/systemd/hardening.in TB_HARDENING)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
  ${CMAKE_SOURCE_DIR}/cmake/systemd/hardening.in)
foreach(unit tributaryd tributary)
  configure_file(${CMAKE_SOURCE_DIR}/cmake/systemd/${unit}.service.in
    ${CMAKE_BINARY_DIR}/systemd/${unit}.service @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/systemd/${unit}.service
    DESTINATION lib/systemd/system)
endforeach()
install(FILES ${CMAKE_SOURCE_DIR}/cmake/systemd/tributary.sysusers
  DESTINATION lib/sysusers.d RENAME tributary.conf)
